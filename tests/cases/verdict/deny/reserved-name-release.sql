-- role: service
-- tier: prod
-- rule: reserved-name
-- sqlstate: 42501
-- message: RELEASE SAVEPOINT of
RELEASE pgbelay_x;
