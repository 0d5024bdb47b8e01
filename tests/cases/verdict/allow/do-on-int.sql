-- role: engineer
-- tier: int
-- verdict: allow
DO $$ BEGIN PERFORM 1; END $$
