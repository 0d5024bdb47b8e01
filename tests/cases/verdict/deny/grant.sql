-- role: service
-- tier: prod
-- rule: role-statement
GRANT ALL ON projects TO public;
