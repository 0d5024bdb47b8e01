-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql AS 'TRUNCATE email_drafts'
