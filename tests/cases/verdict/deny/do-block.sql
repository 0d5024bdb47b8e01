-- role: service
-- tier: prod
-- rule: code-block
-- message: DO is not allowed on prod
DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'email_drafts'; END $$;
