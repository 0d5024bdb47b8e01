-- role: engineer
-- tier: stg
-- rule: uncountable-write
-- message: EXPLAIN ANALYZE of DELETE is not allowed on stg
EXPLAIN ANALYZE WITH x AS (DELETE FROM email_drafts WHERE id = 1 RETURNING *) SELECT * FROM x;
