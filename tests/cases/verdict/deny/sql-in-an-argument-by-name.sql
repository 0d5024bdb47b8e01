-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT query_to_xml(targetns => 'SELECT 1', query => 'SELECT pg_reload' || '_conf()', nulls => true, tableforest => true);
