-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT r.type, r.database FROM pg_catalog.pg_hba_file_rules r;
