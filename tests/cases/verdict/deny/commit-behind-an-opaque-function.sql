-- role: engineer
-- tier: prod
-- rule: read-only-escape
SELECT touch(1); COMMIT; SELECT wipe_drafts()
