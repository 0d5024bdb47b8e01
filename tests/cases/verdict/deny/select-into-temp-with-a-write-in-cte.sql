-- role: service
-- tier: prod
-- rule: uncountable-write
WITH x AS (DELETE FROM email_drafts WHERE id = 1 RETURNING *) SELECT * INTO TEMP gone FROM x;
