-- role: service
-- tier: prod
-- rule: text-trap-setting
SET standard_conforming_strings = off;
