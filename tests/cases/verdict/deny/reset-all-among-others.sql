-- role: engineer
-- tier: prod
-- rule: read-only-escape
RESET ALL; COMMIT; SELECT wipe_drafts()
