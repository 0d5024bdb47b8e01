-- role: service
-- tier: prod
-- rule: uncountable-write
-- message: COPY of DELETE is not allowed on prod
-- hint: Run the DELETE as a statement of its own.
COPY (DELETE FROM email_drafts WHERE id = 1 RETURNING *) TO STDOUT;
