-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
EXPLAIN ANALYZE SELECT * FROM projects
