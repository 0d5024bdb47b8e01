-- role: engineer
-- tier: prod
-- reason: none
FETCH 100 FROM c
