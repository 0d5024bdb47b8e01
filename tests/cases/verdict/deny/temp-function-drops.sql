-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.f() RETURNS void AS 'SELECT 1; DROP TABLE email_drafts' LANGUAGE sql
