-- role: service
-- tier: prod
-- rule: ddl
ALTER TABLE email_drafts DROP COLUMN subject;
