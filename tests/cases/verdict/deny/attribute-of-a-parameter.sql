-- role: service
-- tier: prod
-- rule: dangerous-function
SELECT $1.pg_terminate_backend
