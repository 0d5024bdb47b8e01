-- role: migrator
-- tier: prod
CREATE TABLE t (a int);
