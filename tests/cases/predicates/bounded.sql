-- Look-alikes: predicates that choose among the rows of t, or for which it cannot be told.
tableoid = 'child'::regclass
ctid = '(0,1)'
ctid > '(5,1)'
ctid < '(1000,0)'
name = 'x' OR flag
meta->'a' = meta->'a'
meta->>'a' = meta->>'a'
array_length(tags, 1) = array_length(tags, 1)
nullif(id, 5) = nullif(id, 5)
nullif(id, 5) IS NOT NULL
COALESCE(flag, true)
COALESCE(flag, false)
meta - 'a' = meta
meta - 'a' <> meta
meta - $1 = meta
id / 3 * 3 = id
id % 2 = 0
id % 10 >= 0
id > 3 OR id < 2
id <= 3 OR id >= 4
id <> 1 OR id = 2
status <> 'open' OR flag
status = 'a' OR status <> 'b'
name <> '5' OR name <> '5.0'
name > '5' OR name < '10'
name <> 'a' OR name <> 'A'
day <> 'now' OR day <> 'today'
id::int = id::numeric
price::int = price
round(price) = price
floor(price) = price
created_at::date = created_at
created_at::text::date = created_at
(SELECT count(*) FROM x WHERE x.a = t.a) > 0
(SELECT count(*) FROM x WHERE x.a = t.a) >= 1
(SELECT count(*) FROM t x WHERE x.id = t.id) > 1
(SELECT max(x.id) FROM t x WHERE x.name = t.name) = id
(SELECT max(x.id) FROM t x WHERE x.name = t.name) > id
id = (SELECT max(x.id) FROM t x WHERE x.name = t.name)
id > (SELECT min(x.id) FROM t x WHERE x.name = t.name)
id <> ANY (SELECT id FROM t)
id < ANY (SELECT id FROM t)
id >= ALL (SELECT id FROM t)
id IN (SELECT id FROM archive.t)
id IN (SELECT id FROM t EXCEPT SELECT 1)
id IN (SELECT id + 1 FROM t)
id IN (SELECT parent FROM t)
EXISTS (SELECT 1 FROM t x WHERE x.id > t.id)
EXISTS (SELECT 1 FROM t x WHERE x.parent = t.id)
EXISTS (SELECT 1 FROM t x WHERE x.id <> t.id AND x.name = t.name)
EXISTS (SELECT 1 FROM t x JOIN other o ON o.id = x.id WHERE x.id = t.id)
EXISTS (SELECT f(x.id) FROM t x WHERE x.id = t.id)
name LIKE name || 'x'
name LIKE '%' || $1 || '%'
name LIKE '%x%'
name ~ '^a*$'
name ~ '.'
length(name) > 0
length(name) >= 1
abs(id) > 0
position('x' in name) > 0
name || 'x' = name
greatest(id, 5) = id
least(id, 5) >= 5
least(a, b) = a
id BETWEEN SYMMETRIC 5 AND 1
(id, name) > (1, 'x')
(id, name) IN (SELECT name, id FROM t)
flag = true
flag IS NOT NULL
flag IS NOT UNKNOWN
flag IS TRUE
flag <> false
NOT flag
flag > false
num_nulls(a, b) = 0
num_nonnulls(a, b) = 1
a IS NULL OR b IS NULL
coalesce(a, b) IS NULL OR a IS NOT NULL
coalesce(a, b) IS NOT NULL
id IS NOT NULL
t IS NOT NULL
t.* IS NOT NULL
created_at > '2020-01-01' OR created_at < '2019-01-01'
created_at > '-infinity'
created_at < 'infinity'
name > ''
name <> ''
isfinite(created_at)
starts_with(name, 'a')
tags @> ARRAY['a']
tags && tags
tags @> '{a}'
ARRAY[id] @> ARRAY[1]
CASE WHEN id > 5 THEN id > 6 ELSE id <= 5 END
CASE WHEN flag THEN true ELSE NULL END
(id = 1) = flag
(id = 1) = (name = 'x')
name COLLATE ci <> 'a' OR name = 'a'
id = 5 OR other_id <> 5
lower(name) = name
trim(name) = name
upper(name) = name
replace(name, 'a', 'b') = name
md5(name) = hash
id IN (VALUES (1), (2))
id IN (VALUES (t.other_id))
id = ANY (ARRAY[1, other_id])
(a = 1 AND b = 1) OR (a = 1 AND b <> 1)
id = 1 OR id > 1
flag OR (NOT flag AND id = 1)
updated_at >= created_at
created_at + interval '1 month' - interval '1 month' = created_at
f(id) = f(id)
xmin = $1
xmax = 0
substring(name from 'a') = substring(name from 'a')
id = coalesce($1, 5)
1 = ANY (tags)
EXISTS (SELECT 1 FROM unnest(tags) u WHERE u = 'a')
EXISTS (SELECT 1 FROM generate_series(1, id) g WHERE g = 5)
EXISTS (SELECT 1 FROM (SELECT unnest(tags) AS x) u WHERE u.x = 'a')
EXISTS (SELECT 1 FROM jsonb_array_elements(meta) e WHERE e->>'a' = 'b')
EXISTS (SELECT 1 FROM jsonb_array_elements(meta->'items') e WHERE e->>'a' = 'b')
EXISTS (SELECT 1 FROM other o, unnest(o.tags) u WHERE u = t.name)
id IN (SELECT o.t_id FROM other o WHERE o.x = 5)
id NOT IN (SELECT t_id FROM other WHERE t_id IS NOT NULL)
(id, name) NOT IN (SELECT t_id, name FROM other)
EXISTS (SELECT 1 FROM other o LEFT JOIN t x ON x.id = o.id WHERE o.t_id = t.id)
flag = ANY ('{t,f}')
name LIKE lower('A%')
name LIKE chr(65)
id = length('abc')
id BETWEEN abs(-1) AND 5
ARRAY[nullif(id, 5)]::int[] @> ARRAY[nullif(id, 5)]::int[]
