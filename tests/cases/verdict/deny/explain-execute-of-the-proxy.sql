-- role: service
-- tier: int
-- rule: reserved-name
EXPLAIN EXECUTE pgbelay_1
