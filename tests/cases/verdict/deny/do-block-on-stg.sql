-- role: service
-- tier: stg
-- rule: code-block
-- verdict: confirm
DO $$ BEGIN PERFORM 1; END $$
