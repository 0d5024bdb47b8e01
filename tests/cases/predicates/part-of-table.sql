-- Writes that look like those, and touch a part of t.
INSERT INTO t SELECT * FROM t WHERE id = 1 ON CONFLICT (id) DO UPDATE SET a = 1
INSERT INTO t SELECT * FROM other ON CONFLICT (id) DO UPDATE SET a = 1
INSERT INTO t (id, a) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET a = excluded.a
INSERT INTO t (id, a) SELECT id, a FROM t ON CONFLICT (id) DO NOTHING
INSERT INTO t (id, a) SELECT id, a FROM t ON CONFLICT (id) DO UPDATE SET a = 1 WHERE t.a < excluded.a
INSERT INTO t (id, a) SELECT id + 1000, a FROM t ON CONFLICT (id) DO UPDATE SET a = 1
INSERT INTO t (day, n) SELECT day, count(*) FROM t GROUP BY day ON CONFLICT (id) DO UPDATE SET n = excluded.n
INSERT INTO t (a) SELECT a FROM t
UPDATE t SET a = 1 FROM t x WHERE x.parent = t.id
UPDATE t SET a = 1 FROM o JOIN p ON p.id = o.p_id WHERE o.id = t.o_id
DELETE FROM t USING t x WHERE t.id < x.id AND t.name = x.name
DELETE FROM t USING t x WHERE t.id <> x.id AND t.name = x.name
MERGE INTO t USING (VALUES (1)) s(x) ON t.id = s.x WHEN MATCHED THEN DELETE
MERGE INTO t USING o ON t.id = o.id WHEN MATCHED THEN UPDATE SET a = o.a WHEN NOT MATCHED THEN INSERT VALUES (o.id)
DELETE FROM t WHERE id IN (SELECT id FROM other WHERE other.t_id = t.id)
UPDATE t SET a = a + 1 WHERE id = 5 AND a >= 0
