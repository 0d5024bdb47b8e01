-- role: service
-- tier: prod
-- rule: uncountable-write
EXPLAIN ANALYZE CREATE TEMP TABLE gone AS WITH x AS (DELETE FROM email_drafts WHERE id = 1 RETURNING *) SELECT * FROM x;
