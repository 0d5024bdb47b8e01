-- role: service
-- tier: prod
-- rule: code-block
CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DEL'' || ''ETE FROM email_drafts''; END';
