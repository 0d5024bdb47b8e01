-- role: migrator
-- tier: prod
-- rule: unsafe-setting
CREATE FUNCTION purge(int) RETURNS void LANGUAGE sql SET session_replication_role = replica AS 'DELETE FROM email_drafts WHERE id = $1';
