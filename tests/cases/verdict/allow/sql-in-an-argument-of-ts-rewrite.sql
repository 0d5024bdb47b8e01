-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT ts_rewrite('a & b', 'SELECT word, synonym FROM synonyms'::text);
