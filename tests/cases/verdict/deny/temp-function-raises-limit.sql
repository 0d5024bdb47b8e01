-- role: service
-- tier: prod
-- rule: limit-setting
CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT set_config(''statement_timeout'', ''0'', false)';
