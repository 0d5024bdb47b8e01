-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT ts_rewrite(query, 'a', 'b') FROM searches;
