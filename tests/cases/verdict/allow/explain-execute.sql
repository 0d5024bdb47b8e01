-- role: service
-- tier: prod
EXPLAIN EXECUTE recent(1)
