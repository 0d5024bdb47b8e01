-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM email_drafts WHERE id > 0; SELECT 1; END
