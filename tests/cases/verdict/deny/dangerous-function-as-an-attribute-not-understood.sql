-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT file.pg_read_file FROM unnest(ARRAY['/etc/passwd']) file FROBNICATE BY 7;
