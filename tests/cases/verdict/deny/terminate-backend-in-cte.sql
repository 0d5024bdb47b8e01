-- role: service
-- tier: stg
-- rule: dangerous-function
WITH x AS (SELECT pg_cancel_backend(1)) SELECT * FROM x;
