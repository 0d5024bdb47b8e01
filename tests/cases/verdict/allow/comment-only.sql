-- role: service
-- tier: prod
-- verdict: allow
/* DELETE FROM email_drafts */
