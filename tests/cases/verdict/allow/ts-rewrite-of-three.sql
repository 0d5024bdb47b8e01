-- role: engineer
-- tier: prod
SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)
