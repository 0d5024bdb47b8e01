-- role: engineer
-- tier: prod
-- rule: read-only-escape
SELECT query_to_xml('SELECT set_config(''transaction_read_only'', ''off'', false)', true, false, '');
