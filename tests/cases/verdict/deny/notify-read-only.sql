-- role: engineer
-- tier: prod
-- rule: read-only-tier
NOTIFY ch, 'x';
