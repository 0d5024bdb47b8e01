-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT ts_rewrite('a & b'::tsquery, 'SELECT t, s FROM aliases')
