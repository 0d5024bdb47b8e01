-- role: service
-- tier: prod
BEGIN; SAVEPOINT pgbela; ROLLBACK TO SAVEPOINT pgbela; COMMIT;
