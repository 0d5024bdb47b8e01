-- role: service
-- tier: stg
-- rule: dangerous-function
SELECT 1 FROM pg_stat_activity WHERE (pid)."pg_terminate_backend";
