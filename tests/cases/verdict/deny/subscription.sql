-- role: migrator
-- tier: prod
-- rule: other-connection
CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p;
