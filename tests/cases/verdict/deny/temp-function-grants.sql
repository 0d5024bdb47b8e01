-- role: migrator
-- tier: prod
-- rule: code-block
CREATE OR REPLACE PROCEDURE pg_temp.f() LANGUAGE sql AS $$ GRANT ALL ON projects TO public $$
