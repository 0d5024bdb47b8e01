-- role: service
-- tier: prod
-- rule: role-statement
ALTER ROLE CURRENT_USER SET statement_timeout = 0;
