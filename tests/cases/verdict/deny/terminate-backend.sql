-- role: engineer
-- tier: prod
-- rule: dangerous-function
-- message: calling pg_terminate_backend is not allowed on prod
SELECT * FROM projects WHERE pg_terminate_backend(1);
