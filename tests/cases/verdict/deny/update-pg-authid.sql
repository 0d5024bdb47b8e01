-- role: service
-- tier: stg
-- rule: system-catalog
UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE rolname = 'app';
