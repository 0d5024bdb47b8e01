-- role: migrator
-- tier: stg
-- rule: truncate-drop
-- verdict: confirm
DROP OWNED BY bob;
