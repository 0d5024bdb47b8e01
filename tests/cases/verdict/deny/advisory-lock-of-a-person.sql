-- role: engineer
-- tier: stg
-- rule: advisory-lock
-- hint: pg_advisory_xact_lock
SELECT pg_advisory_lock(1);
