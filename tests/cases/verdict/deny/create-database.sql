-- role: service
-- tier: stg
-- rule: cluster
CREATE DATABASE x;
