-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql AS 'SELECT 1; /* x */ DELETE FROM email_drafts WHERE id > 0'
