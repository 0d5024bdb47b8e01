-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT pg_terminate_backend(1) FROM projects FROBNICATE BY 7;
