-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT txid_current();
