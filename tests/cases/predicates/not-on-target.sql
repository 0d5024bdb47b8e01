-- Predicates that do not choose among the rows of t, though it is not known whether they hold.
tableoid = 't'::regclass
tableoid > 0
tableoid = 16384
tableoid::regclass::text = 't'
random() < 0.5
random() < 2 + 0 * id
pg_typeof(id) = 'integer'::regtype
$1 IN ('all', $2)
$1 = 'x' OR id = 1
id + $1 = id
COALESCE($1, id) = id
id = COALESCE($1, id)
id IN (SELECT t.id FROM other)
EXISTS (SELECT 1 FROM other, t x WHERE x.id = t.id)
(SELECT count(*) FROM other) > 5
