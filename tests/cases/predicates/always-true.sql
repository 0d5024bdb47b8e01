-- Predicates that are true for every row of t whose columns are not NULL, one a line.
id - id = 0
id * 0 = 0
id + 0 = id
0 = id - id
id + 1 > id
id - 1 < id
id + id = 2 * id
(id + 1) * 2 = id * 2 + 2
id <> id + 1
-id = 0 - id
- (- id) = id
id / 1 = id
id * 3 / 3 = id
id / id = 1
id ^ 0 = 1
power(id, 1) = id
id # id = 0
id & id = id
id | 0 = id
ctid >= '(0,0)'
ctid > '(0,0)'
ctid <> '(0,0)'
ctid IS NOT NULL
tableoid IS NOT NULL
xmin IS NOT NULL
(id, name) IN (SELECT id, name FROM t)
id IN (VALUES (t.id))
id IN (VALUES (1), (t.id))
id = ANY(ARRAY[id])
id = ANY(ARRAY[1, id])
id = SOME(ARRAY[id])
(id = 1) IN (true, false)
(id = 1) IS NOT NULL OR name = 'x'
(id = 1) IS NOT NULL
(id = 1) IN (false, true)
(id > 5) = ANY(ARRAY[true,false])
id BETWEEN SYMMETRIC id AND id
id BETWEEN id AND id
id BETWEEN SYMMETRIC id AND 5
id NOT BETWEEN id + 1 AND id
t = t
t.* = t.*
t.* IS NOT DISTINCT FROM t.*
(t).id = id
(t).id = t.id
t IS NOT DISTINCT FROM t
t::text = t::text
row(t.*) = row(t.*)
name = name COLLATE "C"
name COLLATE "C" = name
id::text = id::text
name::text = name
id::text::int = id
coalesce(id, 0) = coalesce(id, 0)
coalesce(id, 0) = id
nullif(id, id) IS NULL
coalesce(nullif(id, 5), 5) = id
(SELECT count(*) FROM x WHERE x.a = t.a) >= 0
(SELECT count(*) FROM x WHERE x.a = t.a) > -1
(SELECT count(*) FROM x WHERE x.a = t.a) IS NOT NULL
(SELECT count(*) FROM t x WHERE x.id = t.id) > 0
(SELECT count(*) FROM t x WHERE x.id = t.id) >= 1
(SELECT count(x.id) FROM t x WHERE x.id = t.id) >= 1
length(name) >= 0
char_length(name) > -1
length(name) + length(title) >= 0
abs(id) >= 0
@ id >= 0
abs(id) = id OR abs(id) = -id
id * id >= 0
id IN (SELECT id FROM t t2 WHERE t2.id = t.id)
EXISTS (SELECT 1 FROM t t2 WHERE t2.id = t.id)
EXISTS (SELECT 1 FROM t t2 WHERE t2.id >= t.id)
EXISTS (SELECT 1 FROM t t2 WHERE t2.id = t.id LIMIT 1)
EXISTS (SELECT 1 FROM t t2 WHERE (t2.id, t2.name) = (t.id, t.name))
EXISTS (SELECT 1 FROM t t2 WHERE t2.ctid = t.ctid)
EXISTS (SELECT 1 FROM t t2 WHERE t2.id + 0 = t.id)
EXISTS (SELECT 1 FROM t t2 WHERE id = t.id)
EXISTS (SELECT t.id INTERSECT SELECT t.id)
EXISTS (SELECT 1 FROM (SELECT t.id) x WHERE x.id = t.id)
EXISTS (SELECT 1 FROM (VALUES (t.id)) v(x) WHERE v.x = t.id)
EXISTS (SELECT 1 FROM (VALUES (1)) v(x) WHERE t.id = t.id)
EXISTS (SELECT 1 FROM generate_series(1, 1) WHERE t.id = t.id)
EXISTS (SELECT 1 FROM unnest(ARRAY[t.id]) u WHERE u = t.id)
EXISTS (SELECT 1 FROM t x JOIN t y ON x.id = y.id WHERE x.id = t.id)
EXISTS (SELECT 1 FROM t x LEFT JOIN other y ON x.id = y.id WHERE x.id = t.id)
EXISTS (SELECT 1 FROM t x JOIN t y USING (id) WHERE x.id = t.id)
EXISTS (SELECT 1 FROM t x CROSS JOIN LATERAL (SELECT x.id AS i) y WHERE y.i = t.id)
id IN (SELECT t2.id FROM t AS t2 INNER JOIN t t3 ON t2.id = t3.id)
id IN (SELECT * FROM unnest(ARRAY[t.id]))
id IN (SELECT id FROM t INTERSECT SELECT id FROM t)
id IN (SELECT id FROM t x UNION ALL SELECT 7)
id IN (SELECT id + 0 FROM t)
id IN (SELECT x.id FROM t x LEFT JOIN other o ON o.id = x.id)
id >= ANY (SELECT id FROM t)
id <= SOME (SELECT x.id FROM t x)
id <= (SELECT max(id) FROM t)
(SELECT min(id) FROM t) <= id
id >= (SELECT min(x.id) FROM t x WHERE x.name = t.name)
id = ANY ((SELECT array_agg(id) FROM t)::int[])
id = (SELECT t.id)
id = (SELECT id LIMIT 1)
NOT id <> ANY (SELECT id)
id = ALL (SELECT id)
name LIKE '%'
name LIKE '%%' ESCAPE '!'
name NOT LIKE 'x' OR name LIKE 'x'
name SIMILAR TO '%'
name ~ ''
name ~ 'a*'
name ~ 'x|'
name !~ 'x' OR name ~ 'x'
regexp_like(name, '')
textlike(name, '%')
name LIKE ANY (ARRAY['%', 'x'])
position('' in name) > 0
position('' in name) = 1
strpos(name, '') = 1
starts_with(name, '')
name ^@ ''
name || '' = name
'' || name = name
concat(name, 'x') = concat(name, 'x')
CASE WHEN id > 5 THEN id > 3 ELSE id <= 5 END
CASE WHEN id = 1 THEN 1 ELSE 2 END > 0
CASE id WHEN 1 THEN true WHEN 2 THEN true ELSE true END
CASE WHEN id = id THEN true END
CASE WHEN id IS NULL THEN true ELSE id = id END
greatest(id, 5) >= 5
greatest(id, 5) >= id
least(id, 5) <= id
least(id, a) <= greatest(id, a)
greatest(id, id) = id
NOT (id <> id)
NOT id <> id
id = id OR name = 'x'
num_nulls(id) >= 0
num_nonnulls(id, name) <= 2
(id, name) >= (id, name)
(id, 1) > (id, 0)
ROW(id, name) = ROW(id, name)
id = ALL ('{}')
id IS NOT DISTINCT FROM id
NOT (id IS DISTINCT FROM id)
(id IS DISTINCT FROM 1) OR id = 1
flag OR NOT flag
flag IS TRUE OR flag IS FALSE OR flag IS NULL
flag IN (true, false)
flag >= false
flag <= true
flag = flag
(flag = true) OR (flag = false)
flag <> NOT flag
flag = (NOT NOT flag)
(id = 1) <> (id <> 1)
(id = 1) = (1 = id)
(id < 1) OR (id > 0)
id > 3 OR id < 5
id <> 1 OR id <> 2
NOT (id = 1 AND id = 2)
NOT (id > 5 AND id < 3)
id NOT IN (1) OR id NOT IN (2)
id <> ANY (ARRAY[1, 2])
status <> 'open' OR status <> 'closed'
NOT (status = 'open' AND status = 'closed')
created_at > '2020-01-01' OR created_at < '2021-01-01'
created_at >= '-infinity'
created_at <= 'infinity'::timestamptz
name >= ''
uid >= '00000000-0000-0000-0000-000000000000'
(id = 1 AND flag) OR NOT (id = 1) OR NOT flag
(a = 1 AND b = 1) OR (a = 1 AND b <> 1) OR a <> 1
coalesce(id = 1, true) OR id <> 1
coalesce(id = id, false)
id % 10 < 10
abs(id % 2) < 2
mod(id, 10) > -10
sign(id) <= 1
pg_column_size(id) >= 0
ascii(name) >= 0
int4eq(id, id)
texteq(name, name)
int4ge(id, id)
int4mi(id, id) = 0
id OPERATOR(pg_catalog.+) 0 = id
id OPERATOR(pg_catalog.-) id = 0
pg_catalog.lower(name) = lower(name)
lower(lower(name)) = lower(name)
substr(name, 1) = name
substring(name from 1) = name
replace(name, 'a', 'a') = name
reverse(reverse(name)) = name
left(name, 0) = ''
repeat(name, 0) = ''
trim(both '' from name) = name
ARRAY[id] @> ARRAY[id]
ARRAY[id] <@ ARRAY[1, id]
ARRAY[id] && ARRAY[id]
tags @> ARRAY[]::text[]
tags @> '{}'::text[]
tags = tags
extract(year from created_at) = extract(year from created_at)
date_trunc('day', created_at) = date_trunc('day', created_at)
to_jsonb(t) = to_jsonb(t)
NOT EXISTS (SELECT 1 FROM other o WHERE o.x = 1 AND o.x <> 1)
EXISTS (SELECT 1 FROM other WHERE id = t.id) OR NOT EXISTS (SELECT 1 FROM other WHERE id = t.id)
id IN (WITH c AS (SELECT id FROM t) SELECT id FROM c WHERE c.id = t.id)
id = $1 OR id <> $1
id + $1 = $1 + id
id IS NULL OR id = 5 OR id <> 5
a1 = 1 OR a2 = 2 OR a3 = 3 OR a4 = 4 OR a5 = 5 OR a6 = 6 OR a7 = 7 OR a8 = 8 OR a9 = 9 OR a10 = 10 OR a11 = 11 OR a12 = 12 OR id > 5 OR id <= 5
a1 = 1 OR a1 = 2 OR a2 = 1 OR a2 = 2 OR a3 = 1 OR a3 = 2 OR a4 = 1 OR a4 = 2 OR a5 = 1 OR a5 = 2 OR a6 = 1 OR a6 = 2 OR a7 = 1 OR a7 = 2 OR a8 = 1 OR a8 = 2 OR a9 = 1 OR a9 = 2 OR a0 = 1 OR a0 = 2 OR b1 = 1 OR b1 = 2 OR b2 = 1 OR b2 = 2 OR b3 = 1 OR b3 = 2 OR b4 = 1 OR b4 = 2 OR id > 5 OR id <= 5
(random() < 2) IS NOT NULL OR id = id
(name LIKE 'a%') IS TRUE OR (name LIKE 'a%') IS NOT TRUE
(id, id) = (id, id)
array_length(ARRAY[id], 1) = array_length(ARRAY[id], 1) OR id = id
jsonb_build_object('a', id) IS NOT NULL
concat(name) IS NOT NULL
NOT (name IS NULL AND name IS NOT NULL)
ARRAY[id] IS NOT NULL
ROW(id, name) IS NOT DISTINCT FROM ROW(id, name)
NOT ((id, 1) IS NULL)
(SELECT count(*) FROM t x) > 0
(CASE $1 WHEN 1 THEN (false OR true) END) IS NOT FALSE
1 BETWEEN SYMMETRIC 2 AND 0
id BETWEEN SYMMETRIC 1 AND id
name LIKE lower('%')
name LIKE chr(37)
name LIKE repeat('%', 2)
name LIKE concat('%', '%')
name LIKE left('%x', 1)
name LIKE reverse('%')
name LIKE trim(' % ')
name LIKE replace('x', 'x', '%')
name ~ trim('.* ')
length('abc') = 3
abs(-5) = 5
to_jsonb(t) IS NOT NULL
(ARRAY[id, 7]::int[]) @> (ARRAY[id, 7]::int[])
