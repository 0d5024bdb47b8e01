-- role: service
-- tier: prod
CREATE TEMP TABLE copied (LIKE email_drafts INCLUDING DEFAULTS)
