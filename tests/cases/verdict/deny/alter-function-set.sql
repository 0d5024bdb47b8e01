-- role: migrator
-- tier: prod
-- rule: unsafe-setting
ALTER FUNCTION f() SET session_replication_role = replica
