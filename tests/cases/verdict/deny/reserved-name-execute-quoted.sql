-- role: service
-- tier: stg
-- rule: reserved-name
-- sqlstate: 42501
-- message: EXECUTE of
EXECUTE "PGBELAY_1" (1);
