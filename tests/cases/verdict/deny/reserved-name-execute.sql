-- role: service
-- tier: prod
-- rule: reserved-name
-- sqlstate: 42501
-- message: EXECUTE of
EXECUTE Pgbelay_1;
