-- role: engineer
-- tier: prod
-- rule: read-only-tier
-- message: lo_unlink
SELECT lo_unlink(1);
