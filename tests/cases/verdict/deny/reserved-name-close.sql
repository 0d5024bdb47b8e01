-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: CLOSE of
CLOSE pgbelay_c;
