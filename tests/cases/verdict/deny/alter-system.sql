-- role: migrator
-- tier: prod
-- rule: cluster
ALTER SYSTEM SET work_mem = '1GB';
