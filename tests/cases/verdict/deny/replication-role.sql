-- role: service
-- tier: stg
-- rule: unsafe-setting
SET session_replication_role = replica;
