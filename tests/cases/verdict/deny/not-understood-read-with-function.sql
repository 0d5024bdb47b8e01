-- role: engineer
-- tier: prod
-- rule: unparsed-read
-- detail: pg_terminate_backend
SELECT pg_terminate_backend(1) FROM projects FROBNICATE BY 7;
