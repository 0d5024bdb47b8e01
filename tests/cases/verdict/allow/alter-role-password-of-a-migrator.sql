-- role: migrator
-- tier: prod
ALTER ROLE reporting CONNECTION LIMIT 5
