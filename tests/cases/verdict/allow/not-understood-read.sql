-- role: service
-- tier: prod
-- verdict: read_only
SELECT id FROM projects FROBNICATE BY 7;
