-- role: service
-- tier: prod
-- rule: code-block
-- message: DO is not allowed on prod
DO $$ BEGIN DELETE FROM email_drafts; END $$
