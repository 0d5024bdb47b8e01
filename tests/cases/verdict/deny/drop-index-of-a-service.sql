-- role: service
-- tier: prod
-- rule: ddl
DROP INDEX CONCURRENTLY drafts_status
