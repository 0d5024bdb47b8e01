-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql AS 'SELECT * INTO copied FROM email_drafts'
