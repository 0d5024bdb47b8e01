-- role: service
-- tier: prod
-- rule: dangerous-function
SELECT pg_log_standby_snapshot()
