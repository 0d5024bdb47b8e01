-- role: service
-- tier: prod
EXECUTE my_pgbelay_1;
