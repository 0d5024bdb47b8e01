-- role: service
-- tier: prod
CREATE TEMP TABLE backup_drafts AS SELECT * FROM email_drafts WHERE id = 1;
