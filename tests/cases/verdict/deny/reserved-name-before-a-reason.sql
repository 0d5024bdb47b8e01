-- role: engineer
-- tier: prod
-- reason: none
-- rule: reserved-name
-- hint: Choose a name that does not begin with pgbelay_.
EXECUTE pgbelay_1;
