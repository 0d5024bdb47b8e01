-- role: migrator
-- tier: prod
-- rule: cluster
ALTER ROLE ALL IN DATABASE app RESET ALL
