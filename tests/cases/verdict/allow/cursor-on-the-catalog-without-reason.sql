-- role: engineer
-- tier: prod
-- reason: none
DECLARE c CURSOR FOR SELECT relname FROM pg_catalog.pg_class
