-- role: service
-- tier: prod
-- rule: unbounded-write
COPY (DELETE FROM email_drafts RETURNING *) TO STDOUT;
