-- role: service
-- tier: prod
-- rule: ddl
-- message: CREATE TABLE is not allowed on prod
-- hint: migrator
CREATE TABLE t (a int);
