-- role: engineer
-- reason: none
-- tier: prod
-- rule: reason-required
SELECT query_to_xml('SELECT * FROM projects', true, false, '');
