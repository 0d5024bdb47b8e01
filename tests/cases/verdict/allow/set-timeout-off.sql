-- role: engineer
-- tier: prod
SET statement_timeout = 0;
