-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
DECLARE c CURSOR FOR SELECT * FROM projects
