-- role: engineer
-- tier: prod
-- rule: unparsed-read
-- detail: set_config
SELECT set_config('a.b', 'c', false) FROM projects FROBNICATE BY 7;
