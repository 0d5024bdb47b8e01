-- role: service
-- tier: prod
NOTIFY ch, 'x';
