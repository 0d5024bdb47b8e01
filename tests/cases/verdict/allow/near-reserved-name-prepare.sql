-- role: service
-- tier: prod
PREPARE pgbelay AS SELECT 1;
