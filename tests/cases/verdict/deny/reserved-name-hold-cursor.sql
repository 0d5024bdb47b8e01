-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: DECLARE CURSOR of
DECLARE pgbelay_c CURSOR WITH HOLD FOR SELECT 1;
