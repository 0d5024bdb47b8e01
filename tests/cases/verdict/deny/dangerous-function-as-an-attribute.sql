-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT ('/etc/passwd'::text).pg_read_file;
