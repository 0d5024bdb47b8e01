-- role: engineer
-- tier: prod
-- verdict: read_only
EXPLAIN ANALYZE EXECUTE p (1);
