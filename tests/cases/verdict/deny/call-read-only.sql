-- role: agent
-- tier: stg
-- rule: read-only-tier
CALL wipe_proc();
