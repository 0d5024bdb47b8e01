-- role: service
-- tier: int
-- verdict: allow
COPY (DELETE FROM email_drafts WHERE id = 1 RETURNING *) TO STDOUT;
