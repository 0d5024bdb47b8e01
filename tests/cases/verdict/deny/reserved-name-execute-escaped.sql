-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: EXECUTE of
EXECUTE U&"\0070gbelay_1";
