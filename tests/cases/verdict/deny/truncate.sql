-- role: service
-- tier: prod
-- rule: truncate-drop
-- message: TRUNCATE is not allowed on prod
TRUNCATE TABLE ONLY email_drafts, projects CASCADE;
