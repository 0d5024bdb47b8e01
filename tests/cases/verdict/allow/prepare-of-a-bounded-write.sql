-- role: service
-- tier: prod
-- verdict: allow
PREPARE p (int) AS DELETE FROM email_drafts WHERE id = $1;
