-- role: migrator
-- tier: prod
CREATE FUNCTION purge(int) RETURNS void LANGUAGE sql SET search_path = pg_catalog, public SET statement_timeout TO '5s' AS 'DELETE FROM email_drafts WHERE id = $1';
