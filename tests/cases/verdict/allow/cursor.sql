-- role: engineer
-- tier: prod
DECLARE c CURSOR FOR SELECT * FROM projects;
