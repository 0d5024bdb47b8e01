-- role: migrator
-- tier: prod
DROP INDEX CONCURRENTLY IF EXISTS drafts_status
