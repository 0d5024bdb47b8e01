-- role: service
-- tier: prod
-- rule: text-trap-setting
-- message: GBK
SET NAMES 'GBK';
