-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT pg_advisory_xact_lock(1);
