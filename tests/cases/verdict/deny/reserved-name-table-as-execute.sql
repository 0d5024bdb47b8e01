-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: EXECUTE of
CREATE TABLE t AS EXECUTE pgbelay_1;
