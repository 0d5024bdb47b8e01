-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT query_to_xml('SELECT id, name FROM projects', true, false, '');
