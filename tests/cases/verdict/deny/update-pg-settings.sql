-- role: service
-- tier: prod
-- rule: system-catalog
-- hint: Use SET
UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout';
