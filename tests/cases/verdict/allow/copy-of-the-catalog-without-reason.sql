-- role: engineer
-- tier: prod
-- reason: none
COPY (SELECT relname FROM pg_catalog.pg_class) TO STDOUT
