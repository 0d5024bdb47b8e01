-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: DEALLOCATE of
SELECT 1; DEALLOCATE pgbelay_1;
