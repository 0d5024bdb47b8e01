-- role: service
-- tier: prod
-- rule: ddl
ALTER TABLE pg_temp.child INHERIT email_drafts
