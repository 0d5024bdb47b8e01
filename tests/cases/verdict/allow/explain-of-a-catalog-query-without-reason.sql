-- role: engineer
-- tier: prod
-- reason: none
EXPLAIN SELECT coalesce(relname, '') FROM pg_catalog.pg_class
