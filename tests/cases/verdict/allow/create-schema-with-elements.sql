-- role: migrator
-- tier: prod
CREATE SCHEMA s AUTHORIZATION app CREATE TABLE t (a int) CREATE VIEW v AS SELECT lower(a::text) FROM t GRANT SELECT ON v TO public
