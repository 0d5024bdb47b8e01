-- role: migrator
-- tier: prod
-- rule: uncountable-write
CREATE TABLE gone AS WITH x AS (DELETE FROM email_drafts WHERE id = 1 RETURNING *) SELECT * FROM x;
