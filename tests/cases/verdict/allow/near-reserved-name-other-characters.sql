-- role: service
-- tier: prod
EXECUTE "pgbelayé_1";
