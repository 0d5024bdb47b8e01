-- role: service
-- tier: prod
CREATE FUNCTION pg_temp.f(i int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM email_drafts WHERE id > i; SELECT 2'
