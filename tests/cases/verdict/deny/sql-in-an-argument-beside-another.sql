-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT query_to_xml('SELECT 1', true, false, ''), query_to_xml(sql, true, false, '') FROM saved_queries;
