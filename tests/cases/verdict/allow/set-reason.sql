-- role: engineer
-- tier: prod
-- reason: none
SET pgbelay.reason = 'INC-42';
