-- role: service
-- tier: int
-- rule: reserved-name
-- sqlstate: 42501
-- message: PREPARE of a name that begins with pgbelay_ is not allowed
PREPARE pgbelay_1 AS SELECT 1;
