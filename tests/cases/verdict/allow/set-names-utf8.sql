-- role: service
-- tier: prod
SET NAMES 'UTF8';
