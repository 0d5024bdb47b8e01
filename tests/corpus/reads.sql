SELECT * FROM projects
SELECT id, name FROM projects WHERE id = 1
SELECT DISTINCT ON (project_id) project_id, subject FROM email_drafts ORDER BY project_id, created_at DESC
SELECT count(*), count(DISTINCT status), avg(id)::int FROM email_drafts GROUP BY step_number HAVING count(*) > 1
SELECT p.name, d.subject FROM projects p JOIN email_drafts d ON d.project_id = p.id AND d.status = 'pending' LIMIT 3
SELECT p.name, d.n FROM projects p LEFT JOIN LATERAL (SELECT count(*) AS n FROM email_drafts d WHERE d.project_id = p.id) d ON true
SELECT * FROM projects NATURAL JOIN pending_items
SELECT name FROM projects WHERE EXISTS (SELECT FROM email_threads t WHERE t.project_id = projects.id)
SELECT name FROM projects WHERE id IN (SELECT project_id FROM pending_items) AND id <> ALL (ARRAY[1, 2])
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n
WITH a AS MATERIALIZED (SELECT 1 AS x), b AS NOT MATERIALIZED (SELECT 2 AS x) SELECT * FROM a, b
SELECT row_number() OVER w, sum(id) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM projects WINDOW w AS (ORDER BY id)
SELECT status, GROUPING(status) FROM email_drafts GROUP BY ROLLUP (status)
SELECT count(*) FILTER (WHERE status = 'pending') FROM email_drafts
SELECT id FROM projects UNION SELECT id FROM pending_items EXCEPT SELECT 1 ORDER BY 1 OFFSET 2 FETCH FIRST 3 ROWS ONLY
VALUES (1, 'a'), (2, 'b')
TABLE mv
SELECT * FROM ONLY projects TABLESAMPLE BERNOULLI (10) REPEATABLE (1)
SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a', 'b'])) WITH ORDINALITY AS r (a, b, n)
SELECT (p).id, (p).*, p::text FROM projects p
SELECT tags[1], tags[1:2], ARRAY(SELECT 1), ARRAY[[1], [2]] FROM email_drafts LIMIT 1
SELECT meta_data -> 'a', meta_data ->> 'a', meta_data #>> '{a}', meta_data @> '{"a": 1}' FROM project_work_items LIMIT 2
SELECT jsonb_agg(p), jsonb_object_agg(p.id, p.name) FROM projects p
SELECT * FROM jsonb_to_recordset('[{"a": 1, "b": "x"}]') AS r (a int, b text)
SELECT * FROM jsonb_path_query('{"a": [1, 2]}', '$.a[*] ? (@ > 1)')
SELECT CASE WHEN id > 1 THEN 'many' ELSE 'one' END, coalesce(name, 'none'), nullif(status, '') FROM projects
SELECT extract(epoch FROM created_at), created_at AT TIME ZONE 'UTC', now() - interval '1 day' FROM projects
SELECT substring(name FROM 1 FOR 3), overlay(name PLACING 'x' FROM 1), position('a' IN name), trim(BOTH 'x' FROM name) FROM projects
SELECT name ~ '^a', name LIKE 'a%' ESCAPE '!', name SIMILAR TO 'a|b', name BETWEEN SYMMETRIC 'z' AND 'a' FROM projects
SELECT id::int8, CAST(id AS text), 'x'::varchar(3), int4 '7', date '2024-01-01' FROM projects
SELECT E'a\'b', U&'\0061', $tag$ ' $tag$, B'01', X'1F', 1e3, .5
SELECT name COLLATE "C" FROM projects ORDER BY name COLLATE "C" NULLS FIRST
SELECT to_tsvector('english', subject) @@ to_tsquery('hello') FROM email_drafts LIMIT 1
SELECT ts_rewrite('a & b', 'SELECT ''a''::tsquery, ''c''::tsquery')
SELECT query_to_xml('SELECT id FROM projects', true, false, '')
SELECT c.relname, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
SELECT pg_get_viewdef('mv'::regclass), pg_relation_size('projects'), has_table_privilege('projects', 'SELECT')
SELECT current_user, current_database(), version(), current_setting('search_path')
SELECT set_config('app.tenant', 'x', true), pg_advisory_xact_lock(1), pg_sleep(0), setseed(0.5), random()
SELECT pg_current_xact_id_if_assigned(), txid_current_if_assigned(), txid_current_snapshot(), pg_export_snapshot()
SELECT txid_current(), pg_current_xact_id()
SELECT touch(1)
SELECT wipe_drafts()
SELECT nextval('projects_id_seq'), currval('projects_id_seq'), lastval()
SELECT id FROM projects FOR UPDATE
SELECT id FROM projects FOR KEY SHARE OF projects SKIP LOCKED
SELECT * INTO made FROM projects
EXPLAIN SELECT * FROM projects
EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM projects
EXPLAIN DELETE FROM projects
EXPLAIN ANALYZE DELETE FROM email_threads WHERE id = 1
SHOW ALL
SHOW work_mem
COPY projects (id) TO STDOUT
COPY (SELECT * FROM mv) TO STDOUT (FORMAT csv)
WITH x AS (INSERT INTO email_threads (subject) VALUES ('x') RETURNING id) SELECT * FROM x
WITH x AS (UPDATE projects SET name = 'x' WHERE id = 1 RETURNING *) SELECT * FROM x
INSERT INTO email_threads (subject) SELECT 'x'
UPDATE projects SET name = 'x' FROM mv WHERE projects.id = mv.n
DELETE FROM email_drafts USING projects p WHERE p.id = project_id AND p.id = 1
MERGE INTO projects p USING pending_items i ON i.project_id = p.id WHEN MATCHED THEN UPDATE SET status = i.status
LOCK TABLE projects IN ACCESS SHARE MODE
SELECT lo_create(0), lo_from_bytea(0, 'x')
REFRESH MATERIALIZED VIEW mv
CREATE TEMP TABLE made AS SELECT 1
