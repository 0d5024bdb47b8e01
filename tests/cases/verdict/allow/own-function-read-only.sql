-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT wipe_drafts();
