-- role: service
-- tier: prod
-- rule: uncountable-write
-- message: making a table of DELETE
CREATE TEMP TABLE gone AS WITH x AS (DELETE FROM email_drafts WHERE id = 1 RETURNING *) SELECT * FROM x;
