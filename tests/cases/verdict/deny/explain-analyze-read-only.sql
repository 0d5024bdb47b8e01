-- role: engineer
-- tier: prod
-- rule: read-only-tier
EXPLAIN ANALYZE DELETE FROM email_drafts WHERE id = 1;
