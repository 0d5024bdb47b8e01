-- role: service
-- tier: prod
-- rule: ddl
CREATE TEMP TABLE child () INHERITS (email_drafts)
