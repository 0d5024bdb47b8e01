-- role: service
-- tier: prod
-- rule: role-change
SET ROLE postgres;
