-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT * FROM pg_ls_dir('/');
