-- role: service
-- tier: stg
-- rule: dangerous-function
CREATE AGGREGATE pg_temp.contents(*) (SFUNC = pg_read_file, STYPE = text, INITCOND = '/etc/passwd');
