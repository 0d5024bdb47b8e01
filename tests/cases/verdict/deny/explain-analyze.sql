-- role: service
-- tier: prod
-- rule: unbounded-write
EXPLAIN ANALYZE DELETE FROM email_drafts;
