-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
SELECT most_common_vals FROM pg_stats WHERE tablename = 'projects'
