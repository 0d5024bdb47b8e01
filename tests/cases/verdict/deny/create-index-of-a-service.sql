-- role: service
-- tier: prod
-- rule: ddl
CREATE INDEX CONCURRENTLY ON email_drafts (status)
