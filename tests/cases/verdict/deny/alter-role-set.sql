-- role: service
-- tier: stg
-- rule: cluster
ALTER ROLE CURRENT_USER SET statement_timeout = 0;
