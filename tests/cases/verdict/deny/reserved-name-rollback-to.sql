-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: ROLLBACK TO SAVEPOINT of
ROLLBACK TO SAVEPOINT pgbelay_x;
