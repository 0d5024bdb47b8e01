-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: EXECUTE of
EXPLAIN ANALYZE EXECUTE pgbelay_1;
