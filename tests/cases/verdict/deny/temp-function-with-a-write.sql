-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.forget(int) RETURNS void LANGUAGE sql AS 'DELETE FROM email_drafts WHERE id = $1';
