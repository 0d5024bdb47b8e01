-- role: engineer
-- tier: prod
-- reason: none
-- verdict: read_only
SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind OPERATOR(pg_catalog.=) ANY (array['r', 'S']) AND c.relname OPERATOR(pg_catalog.~) '^(a)$' COLLATE pg_catalog.default
