-- role: service
-- tier: prod
-- rule: unbounded-write
PREPARE p (bool) AS DELETE FROM email_drafts WHERE $1;
