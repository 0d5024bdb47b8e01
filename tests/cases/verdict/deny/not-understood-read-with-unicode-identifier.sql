-- role: engineer
-- tier: prod
-- rule: unparsed-read
SELECT U&"\0070g_terminate_backend"(1) FROM projects FROBNICATE BY 7;
