-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: SAVEPOINT of
SAVEPOINT pgbelay_x;
