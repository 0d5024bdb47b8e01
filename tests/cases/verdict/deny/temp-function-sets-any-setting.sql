-- role: service
-- tier: prod
-- rule: unknown-setting
CREATE FUNCTION pg_temp.f(text) RETURNS text LANGUAGE sql AS 'SELECT set_config($1, ''0'', false)';
