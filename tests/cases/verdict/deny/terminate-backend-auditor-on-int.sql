-- role: auditor
-- tier: int
-- rule: dangerous-function
SELECT pg_terminate_backend(1);
