-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT U&"\0070g_terminate_backend"(1) FROM projects FROBNICATE BY 7;
