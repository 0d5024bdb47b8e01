-- role: service
-- tier: prod
-- verdict: guarded
EXECUTE p (1);
