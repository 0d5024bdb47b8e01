-- role: migrator
-- tier: prod
-- rule: drop-column
-- verdict: confirm
-- message: DROP COLUMN needs confirmation on prod
-- hint: SET pgbelay.confirm
ALTER TABLE email_drafts DROP COLUMN subject
