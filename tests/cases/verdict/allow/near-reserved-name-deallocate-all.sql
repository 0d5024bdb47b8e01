-- role: service
-- tier: prod
DEALLOCATE ALL;
