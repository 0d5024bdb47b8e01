-- role: service
-- tier: prod
LOCK TABLE projects IN ROW EXCLUSIVE MODE;
