-- role: migrator
-- tier: prod
-- rule: dangerous-function
CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT pg_terminate_backend(a) FROM t
