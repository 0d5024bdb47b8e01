-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: DEALLOCATE of
DEALLOCATE PREPARE pgbelay_7;
