-- role: engineer
-- tier: prod
-- reason: none
PREPARE p (oid) AS SELECT pg_catalog.pg_get_viewdef($1)
