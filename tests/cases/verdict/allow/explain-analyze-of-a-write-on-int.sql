-- role: service
-- tier: int
-- verdict: allow
EXPLAIN ANALYZE DELETE FROM email_drafts WHERE id = 1;
