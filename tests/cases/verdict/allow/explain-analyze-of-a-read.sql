-- role: service
-- tier: prod
-- verdict: allow
EXPLAIN ANALYZE SELECT * FROM email_drafts;
