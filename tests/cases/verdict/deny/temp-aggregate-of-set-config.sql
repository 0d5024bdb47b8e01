-- role: service
-- tier: prod
-- rule: ddl
CREATE AGGREGATE pg_temp.change(text, boolean) (SFUNC = set_config, STYPE = text, INITCOND = 'statement_timeout');
