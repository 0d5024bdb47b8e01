-- role: service
-- tier: prod
SELECT pg_advisory_lock(1);
