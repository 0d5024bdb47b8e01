-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT (address).city, p.pg_read FROM projects p;
