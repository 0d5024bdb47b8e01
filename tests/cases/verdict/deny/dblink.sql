-- role: service
-- tier: prod
-- rule: dangerous-function
SELECT dblink_exec('dbname=postgres', 'DROP TABLE x');
