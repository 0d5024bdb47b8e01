-- role: migrator
-- tier: prod
-- rule: truncate-drop
DROP TABLE email_drafts;
