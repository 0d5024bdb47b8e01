-- role: service
-- tier: prod
-- rule: dangerous-function
CREATE OPERATOR pg_temp.@@@ (FUNCTION = pg_catalog.pg_read_file, RIGHTARG = text);
