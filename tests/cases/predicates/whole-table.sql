-- Writes that touch every row of t in a roundabout way.
INSERT INTO t SELECT * FROM t ON CONFLICT (id) DO UPDATE SET a = 1
INSERT INTO t SELECT * FROM t WHERE true ON CONFLICT (id) DO UPDATE SET a = 1
INSERT INTO t (id, a) SELECT id, a FROM t ON CONFLICT (id) DO UPDATE SET a = excluded.a + 1
INSERT INTO t (id, a) SELECT x.id, 1 FROM t x ON CONFLICT (id) DO UPDATE SET a = excluded.a WHERE t.id = excluded.id
INSERT INTO t (id, a) SELECT id, 1 FROM t ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET a = excluded.a
INSERT INTO t TABLE t ON CONFLICT (id) DO UPDATE SET a = 1
INSERT INTO t (id) WITH c AS (SELECT id FROM t) SELECT id FROM c ON CONFLICT (id) DO UPDATE SET a = 1
UPDATE t SET a = 1 FROM t x WHERE x.id = t.id
UPDATE t SET a = 1 FROM t x WHERE x.id >= t.id
UPDATE t SET a = 1 FROM t x WHERE x.ctid = t.ctid
UPDATE t SET a = 1 FROM (SELECT id AS i FROM t) x WHERE x.i = t.id
UPDATE t SET a = 1 FROM (VALUES (1)) v(x) WHERE t.id = t.id
DELETE FROM t USING (SELECT 1) x WHERE true
DELETE FROM t USING t x WHERE t.id <= x.id
DELETE FROM t USING t x JOIN t y ON x.id = y.id WHERE t.id = x.id
MERGE INTO t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE
MERGE INTO t USING (SELECT 1) s ON t.id = t.id WHEN MATCHED THEN DELETE
MERGE INTO t USING (VALUES (1)) s(x) ON t.id = t.id WHEN MATCHED THEN UPDATE SET a = 1
MERGE INTO t USING t s ON t.id = s.id WHEN MATCHED AND t.id = s.id THEN DELETE
MERGE INTO t USING other o ON false WHEN NOT MATCHED BY SOURCE THEN DELETE
WITH c AS (SELECT * FROM t) UPDATE t SET a = 1 FROM c WHERE c.id = t.id
DELETE FROM ONLY t WHERE t.id - t.id = 0
DELETE FROM s.t WHERE s.t.id = t.id
DELETE FROM t AS x WHERE x.id = x.id
DELETE FROM "T" WHERE "T".id = id
DELETE FROM t WHERE (id, name) IN (SELECT * FROM t)
