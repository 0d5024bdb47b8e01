-- role: service
-- tier: prod
SELECT * FROM pgbelay_1;
