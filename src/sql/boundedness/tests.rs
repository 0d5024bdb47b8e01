use crate::sql::{Boundedness, classify};

fn bound(text: &str) -> Boundedness {
    let script = classify(text);
    let write = script.statements.iter().flat_map(|s| &s.writes).next();
    write.unwrap_or_else(|| panic!("no write: {text}\n{script:#?}")).bound.clone()
}

fn of(predicate: &str) -> Boundedness {
    bound(&format!("DELETE FROM t WHERE {predicate}"))
}

#[test]
fn always_true() {
    for predicate in [
        // Constants.
        "true",
        "'t'",
        "' YES '",
        "1=1",
        "1 = 1.0",
        "'1' = 1",
        "2 > 1 AND 1 < 2",
        "1 <> 2",
        "1 != 2",
        "-1 < 0",
        "1 + 1 = 2",
        "7 / 2 = 3",
        "'a' || 'b' = 'ab'",
        "'a' <> 'b'",
        "1 BETWEEN 0 AND 2",
        "3 NOT BETWEEN 0 AND 2",
        "1 IN (2, 1)",
        "1 NOT IN (2, 3)",
        "'abc' LIKE 'a%c'",
        "'abc' NOT LIKE 'b%'",
        "'ABC' ILIKE '_b_'",
        "'abc' ~~ 'a%'",
        "'t'::bool",
        "bool 'true'",
        "CAST('on' AS boolean)",
        "1::bool",
        "'1'::int = 1",
        "1::text = '1'",
        "NULL IS NULL",
        "1 IS NOT NULL",
        "(1 = 1) IS TRUE",
        "(1 = 2) IS NOT TRUE",
        "(1 = 2) IS FALSE",
        "NULL IS UNKNOWN",
        "(NULL = 1) IS NULL",
        "NULL IS DISTINCT FROM 1",
        "NULL IS NOT DISTINCT FROM NULL",
        "COALESCE(NULL, true)",
        "COALESCE(true, false)",
        "NULLIF(1, 1) IS NULL",
        "NULLIF(1, 2) = 1",
        "CASE WHEN true THEN true ELSE false END",
        "CASE 1 WHEN 1 THEN 't'::bool END",
        "CASE WHEN id = 1 THEN true ELSE true END",
        "1 = ANY(ARRAY[1, 2])",
        "3 = ANY(ARRAY[1, 2, id, 3])",
        "1 <> ALL(ARRAY[2, 3])",
        "id <> ALL('{}')",
        "id = ALL(ARRAY[]::int[])",
        "(SELECT true)",
        "(SELECT 1) = 1",
        "EXISTS (SELECT 1)",
        "EXISTS (SELECT id)",
        "EXISTS (SELECT 1 WHERE 1 = 1)",
        "NOT EXISTS (SELECT 1 WHERE false)",
        "EXISTS (VALUES (1))",
        "EXISTS (SELECT count(*) FROM other WHERE other.id = t.id)",
        "EXISTS (SELECT 1 UNION SELECT 1 FROM other)",
        "1 IN (SELECT 1)",
        // Algebra.
        "NOT false",
        "NOT (1 = 2)",
        "id = 1 OR 1 = 1",
        "id = 1 OR NOT false",
        "id IS NOT NULL OR TRUE",
        "(id > 0) IS NOT NULL OR NOT FALSE",
        "NOT (id = 1 AND false)",
        "NOT (NULL AND false)",
        "true AND (false OR true)",
        "(1 = 1) = true",
        "true <> (1 = 2)",
        "(id = id) = (1 = 1)",
        // Identities.
        "id = id",
        "id <= id",
        "id >= id",
        "t.id = t.id",
        "id = t.id",
        "public.t.id = id",
        "\"id\" = ID",
        "id::text = id::text",
        "(id) = (id + 0)",
        "1 * id = id",
        "lower(name) = lower(name)",
        "NOT (id <> id)",
        "NOT (id < id)",
        "id IS NOT DISTINCT FROM id",
        "id BETWEEN id AND id",
        "id IN (1, id)",
        "id = ANY(ARRAY[id])",
        "(id, name) = (id, name)",
        "ROW(id) = ROW(id)",
        "ctid = ctid",
        "ctid IS NOT NULL",
        "current_user = current_user",
        "now() = now()",
        "id IS NULL OR id IS NOT NULL",
        "id = 1 OR id <> 1",
        "id > 5 OR name = 'x' OR id <= 5",
        "flag OR NOT flag",
        "flag IS TRUE OR flag IS NOT TRUE",
        "(id IS NULL) IS NOT NULL",
        "name LIKE '%'",
        "name ILIKE '%%'",
        "id IN (SELECT id FROM t)",
        "id IN (SELECT DISTINCT id FROM t ORDER BY id)",
        "id IN (SELECT x.id FROM public.t x WHERE 1 = 1)",
        "t.id = ANY (SELECT id FROM t)",
        "id IN (SELECT id FROM (SELECT id AS id, name FROM t) x)",
        "id IN (SELECT * FROM (SELECT id FROM t) x) OR id IN (SELECT id FROM t)",
        "id IN (SELECT i FROM (SELECT id AS i FROM t) x)",
        "id IN (SELECT id FROM t UNION SELECT 1)",
        "id IN (SELECT id FROM t GROUP BY id)",
        "id IN (WITH c AS (SELECT id FROM t) SELECT id FROM c)",
        "id IN (SELECT t.id)",
        "EXISTS (SELECT 1 FROM t x WHERE x.id = t.id)",
    ] {
        assert!(matches!(of(predicate), Boundedness::Tautology(_)), "{predicate}: {:?}", of(predicate));
    }
}

#[test]
fn not_on_target() {
    for predicate in [
        "$1",
        "$1::bool",
        "$1 = 1",
        "id = 1 OR $1",
        "$1 IS NULL OR id = $1",
        "now() > '2000-01-01'",
        "random() < 2",
        "'a' < 'b'",
        "id = 1 OR random() < 2",
        "current_user = 'app'",
        "'a' COLLATE ci = 'A'",
        "1 IN (2, $1)",
        "1 IN (SELECT 1 FROM other)",
        "EXISTS (SELECT 1 FROM other)",
        "EXISTS (SELECT t.id FROM other)",
        "EXISTS (SELECT 1 FROM other WHERE flag = true)",
        "EXISTS (SELECT 1 FROM other o WHERE o.id = 1)",
        "EXISTS (SELECT generate_series(1, 2))",
        "(SELECT max(id) FROM other) > 0",
        "id IN (SELECT t.id FROM other)",
        "CASE WHEN id = 1 THEN true WHEN random() < 2 THEN true END OR random() < 2",
        "CASE WHEN random() < 2 THEN true ELSE false END",
        "NOT (id = 1 AND $1)",
        "1 = ANY($1)",
        "f(1)",
        "(id = 1 AND $1) IS NOT TRUE",
        "NOT ((id = 1 AND $1) IS TRUE)",
        "(id = 1 OR $1) IS NOT FALSE",
        "'x' IS DOCUMENT",
        "NULL BETWEEN SYMMETRIC 1 AND 2 IS NULL",
    ] {
        assert!(matches!(of(predicate), Boundedness::NotOnTarget(_)), "{predicate}: {:?}", of(predicate));
    }
}

#[test]
fn bounded() {
    for predicate in [
        "id = 1",
        "id = $1",
        "id > 0",
        "id IS NOT NULL",
        "flag",
        "NOT flag",
        "t.flag",
        "id IN (1, 2, 3)",
        "id = ANY($1)",
        "id = ANY('{1,2}')",
        "id NOT IN (1, NULL)",
        "id = 1 AND $1",
        "id = 1 AND 1 = 1",
        "NOT (id = 1 OR $1)",
        "id = 1 OR id = 2",
        "id = 1 OR false",
        "id > 5 OR id < 5",
        "id = other_id",
        "id::text = name",
        "f(id) = f(id)",
        "id = id + 1",
        "name LIKE 'a%'",
        "name LIKE $1",
        "name ~* '^a'",
        "id BETWEEN 1 AND 2",
        "id BETWEEN SYMMETRIC 5 AND 1",
        "sent_at < now() - interval '90 days'",
        "meta @> '{\"a\": 1}'",
        "meta->>'a' = 'b'",
        "tags[1] = 'a'",
        "id IN (SELECT id FROM other)",
        "id IN (SELECT id FROM t WHERE name = 'x')",
        "id IN (SELECT id FROM t LIMIT 10)",
        "id IN (SELECT id FROM t ORDER BY id OFFSET 5)",
        "id IN (SELECT other_id FROM t)",
        "id IN (SELECT max(id) FROM t)",
        "id IN (SELECT DISTINCT ON (name) id FROM t)",
        "id IN (SELECT id FROM t JOIN other USING (id))",
        "id IN (SELECT id FROM t TABLESAMPLE BERNOULLI (1))",
        "id IN (SELECT id FROM t GROUP BY id HAVING count(*) > 1)",
        "id IN (SELECT id FROM other.t, public.t)",
        "id NOT IN (SELECT id FROM t WHERE name = 'x')",
        "ctid IN (SELECT min(ctid) FROM t GROUP BY name)",
        "EXISTS (SELECT 1 FROM other o WHERE o.t_id = t.id)",
        "EXISTS (SELECT 1 FROM other o WHERE o.id = t_id)",
        "NOT EXISTS (SELECT 1 FROM other WHERE other.id = t.other_id)",
        "NOT EXISTS (SELECT 1 FROM other x WHERE id <> t.id)",
        "NOT EXISTS (SELECT 1 FROM other WHERE id NOT IN (SELECT t.id))",
        "EXISTS (SELECT 1 FROM other t WHERE t.id = id)",
        "NOT (id = 1 AND $1 = 2) AND id = 5",
        "(id = 1 OR $1) IS FALSE",
        "EXISTS (SELECT 1 FROM t x WHERE x.id = t.id AND x.name = 'a')",
        "EXISTS (SELECT 1 FROM t x WHERE x.name = t.name AND x.id < t.id)",
        "(SELECT count(*) FROM other o WHERE o.t_id = t.id) = 0",
        "(id, name) IN (SELECT id, name FROM other)",
        "(id, name) = (1, 'x')",
        "COALESCE(name, 'x') = 'x'",
        "COALESCE(flag, false)",
        "CASE WHEN id = 1 THEN true ELSE false END",
        "CASE WHEN id = 1 THEN true END",
        "CASE id WHEN 1 THEN true ELSE false END",
        "CASE WHEN id = 1 THEN false ELSE true END",
        "(id = 1) IS TRUE",
        "(id = 1) IS NOT FALSE",
        "id IS DISTINCT FROM 1",
        "id % 2 = 0",
        "upper(name) = lower(name)",
        "current_user = name",
        "t IS NOT NULL",
        // Never true.
        "false",
        "NULL",
        "1 = 2",
        "1 <> 1",
        "id <> id",
        "NULL = NULL",
        "NULL::bool OR NOT NULL::bool",
        "NULL = 1 OR NULL <> 1",
        "'f'::bool",
        "1 IN (2, 3)",
        "id = 1 AND false",
        "NOT true",
        "EXISTS (SELECT 1 WHERE false)",
        "id = ANY('{}')",
    ] {
        assert_eq!(of(predicate), Boundedness::Bounded, "{predicate}");
    }
}

#[test]
fn whole_statements() {
    use Boundedness::{Bounded, Missing};
    for (text, expected) in [
        ("DELETE FROM t", Missing),
        ("UPDATE t SET a = 1", Missing),
        ("DELETE FROM t USING o", Missing),
        ("UPDATE t SET a = 1 FROM o WHERE o.id = t.o_id", Bounded),
        ("UPDATE t x SET a = 1 FROM o WHERE o.id = x.o_id AND o.flag", Bounded),
        ("DELETE FROM t x USING o WHERE id = o_id", Bounded),
        ("DELETE FROM t USING t x WHERE t.id > x.id AND t.name = x.name", Bounded),
        ("DELETE FROM t USING t x WHERE t.id = x.id AND x.name = 'a'", Bounded),
        ("DELETE FROM t WHERE CURRENT OF c", Bounded),
        ("WITH c AS (SELECT id FROM t WHERE a = 1) DELETE FROM t WHERE id IN (SELECT id FROM c)", Bounded),
        ("WITH c AS (SELECT id FROM t LIMIT 5) UPDATE t SET a = 1 WHERE id IN (SELECT id FROM c)", Bounded),
        ("MERGE INTO t USING o ON t.id = o.id WHEN MATCHED THEN DELETE", Bounded),
        ("MERGE INTO t USING o ON false WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)", Bounded),
        ("MERGE INTO t USING o ON true WHEN NOT MATCHED THEN INSERT VALUES (1)", Bounded),
        ("MERGE INTO t USING o ON true WHEN MATCHED AND t.id = 1 THEN DELETE", Bounded),
        ("MERGE INTO t USING o ON t.id = o.id WHEN NOT MATCHED BY SOURCE AND t.a = 1 THEN DELETE", Bounded),
    ] {
        assert_eq!(bound(text), expected, "{text}");
    }
    for text in [
        "DELETE FROM t AS x USING t WHERE x.id = t.id",
        "DELETE FROM t USING t x WHERE t.id = x.id AND true",
        "WITH c AS (SELECT id FROM t) DELETE FROM t WHERE id IN (SELECT id FROM c)",
        "MERGE INTO t USING o ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO t USING t s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1",
        "MERGE INTO t USING o ON t.id = o.id WHEN MATCHED AND t.a = 1 THEN DELETE WHEN NOT MATCHED BY SOURCE AND 1 = 1 \
         THEN DO NOTHING WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "UPDATE t SET a = 1 FROM o WHERE 1 = 1",
        "UPDATE t SET a = 1 FROM o WHERE o.id = o.id",
    ] {
        let bound = bound(text);
        // The rows that a source does not match are those for which ON is not true.
        let expected = if text.contains("BY SOURCE THEN DELETE") {
            bound == Bounded
        } else {
            matches!(bound, Boundedness::Tautology(_))
        };
        assert!(expected, "{text}: {bound:?}");
    }
    for text in [
        "UPDATE t SET a = 1 FROM o WHERE o.id = 1",
        "DELETE FROM t x USING o WHERE t.id = o.id",
        "MERGE INTO t USING o ON o.id = 1 WHEN MATCHED THEN DELETE",
        "DELETE FROM t USING o JOIN p ON o.id = p.id WHERE p.id = 5",
    ] {
        assert!(matches!(bound(text), Boundedness::NotOnTarget(_)), "{text}: {:?}", bound(text));
    }
}

#[test]
fn the_predicate_is_told_as_written() {
    for (predicate, told) in [
        ("1=1", "1=1"),
        ("id = 1 OR\n NOT false", "id = 1 or not false"),
        ("(SELECT true)", "(select true)"),
        ("(1 = 1)", "(1 = 1)"),
        ("1=1 OR EXISTS (SELECT 1)", "1=1 or exists (select 1)"),
        ("t.id = t.id AND true", "t.id = t.id and true"),
        ("length('abc') = 3", "length('abc') = 3"),
        ("random() < 2", "random() < 2"),
        ("COALESCE(true, false)", "coalesce(true, false)"),
    ] {
        let (Boundedness::Tautology(text) | Boundedness::NotOnTarget(text)) = of(predicate) else {
            panic!("{predicate}")
        };
        assert_eq!(text, told);
    }
}

#[test]
fn folding_takes_bounded_time() {
    let nested = |n: usize| (0..n).fold("id = 1".to_owned(), |inner, _| format!("{inner} = true"));
    let between = |n: usize| (0..n).fold("id".to_owned(), |inner, _| format!("({inner} BETWEEN 1 AND 2)"));
    let cast = "::bool".repeat(60);
    let product = (0..200).map(|i| format!("(a{}+b)", i % 9)).collect::<Vec<_>>().join("*");
    let doubled = (0..18).fold("SELECT name AS x FROM t WHERE a = 1".to_owned(), |query, i| {
        format!("SELECT concat(x, x) AS x FROM ({query}) q{i}")
    });
    let list = (0..1_000).map(|i| format!("'v{i}x'")).collect::<Vec<_>>().join(", ");
    for predicate in [
        nested(60),
        between(14),
        format!("(id = 1){cast}"),
        format!("id = {product}"),
        format!("name IN ({doubled})"),
        format!("name IN ({list})"),
    ] {
        let start = std::time::Instant::now();
        let bound = of(&predicate);
        assert!(start.elapsed().as_secs() < 5, "{predicate}");
        assert!(!matches!(bound, Boundedness::Tautology(_) | Boundedness::Missing), "{predicate}");
    }
}

#[test]
fn every_row_by_a_roundabout_way() {
    for predicate in [
        "id = ANY(ARRAY(SELECT id FROM t))",
        "ctid = ANY(ARRAY(SELECT ctid FROM t))",
        "id IN (SELECT id FROM t OFFSET 0)",
        "id IN (SELECT x.id FROM t x WHERE x.id = t.id)",
        "id = (SELECT x.id FROM t x WHERE x.id = t.id)",
        "id = (SELECT id)",
        "id OPERATOR(pg_catalog.=) id",
        "id > 5 OR 5 >= id",
        "id = 1 OR 1 <> id",
        "id = COALESCE(NULL, id)",
        "COALESCE(id, 0) = id",
        "name ~ '.*'",
        "name ~* ''",
        "name ~ '^'",
        "name SIMILAR TO '%'",
        "id NOT IN (SELECT id FROM other WHERE false)",
    ] {
        assert!(matches!(of(predicate), Boundedness::Tautology(_)), "{predicate}: {:?}", of(predicate));
    }
    for text in [
        "DELETE FROM t a USING t b, other WHERE a.id = b.id",
        "DELETE FROM t a USING t b WHERE (a.id) = (b.id)",
        "DELETE FROM t a USING t b WHERE a.id IS NOT DISTINCT FROM b.id",
        "DELETE FROM t a USING t b WHERE (a.id, a.name) = (b.id, b.name)",
        "DELETE FROM t a USING (SELECT * FROM t) b WHERE a.id = b.id",
        "WITH c AS (SELECT id FROM t) DELETE FROM t USING c WHERE t.id = c.id",
        "WITH c AS (SELECT * FROM t) UPDATE t SET a = 1 FROM c x WHERE x.id = t.id",
        "MERGE INTO t USING (SELECT * FROM t) s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ] {
        assert!(matches!(bound(text), Boundedness::Tautology(_)), "{text}: {:?}", bound(text));
    }
    for predicate in
        // Every row, if the other table has any.
        [
            "EXISTS (SELECT 1 FROM other, t x WHERE x.id = t.id)",
            "EXISTS (SELECT 1 FROM other WHERE t.id = t.id)",
            "id = COALESCE($1, id)",
            "COALESCE($1, id) = id",
        ]
    {
        assert!(matches!(of(predicate), Boundedness::NotOnTarget(_)), "{predicate}: {:?}", of(predicate));
    }
}

#[test]
fn roundabout_ways_that_choose() {
    for predicate in [
        "id = ANY(ARRAY(SELECT id FROM t WHERE a = 1))",
        "ctid = ANY(ARRAY(SELECT ctid FROM t LIMIT 100))",
        "id IN (SELECT id FROM t OFFSET 10)",
        "id IN (SELECT x.id FROM t x WHERE x.id = t.id AND x.a = 1)",
        "id = (SELECT max(x.id) FROM t x)",
        "id = (SELECT x.id FROM other x WHERE x.id = t.id)",
        "EXISTS (SELECT 1 FROM other, t x WHERE x.id = t.id AND other.id = x.id)",
        "EXISTS (SELECT 1 FROM other WHERE 1 = 1 AND other.id = t.id)",
        "id OPERATOR(pg_catalog.=) 5",
        "row_to_json(t.*)::text LIKE '%x%'",
        "id > 5 OR 3 >= id",
        "id = COALESCE($1, 5)",
        "id = COALESCE($1, id) AND name = $2",
        "id = COALESCE(NULL, 5)",
        "COALESCE(deleted, false) = true",
        "name ~ '^a.*'",
        "name !~ '.*'",
        "name SIMILAR TO 'a%'",
        "id NOT IN (SELECT id FROM other WHERE a = 1)",
    ] {
        assert_eq!(of(predicate), Boundedness::Bounded, "{predicate}");
    }
    for text in [
        "WITH t AS (SELECT 1 AS id) DELETE FROM public.t AS a USING t b WHERE a.id = b.id",
        "WITH c AS (SELECT id FROM t WHERE a = 1) DELETE FROM t USING c WHERE t.id = c.id",
        "DELETE FROM t a USING (SELECT * FROM t LIMIT 5) b WHERE a.id = b.id",
        "DELETE FROM t a USING t b JOIN other o ON o.id = b.id WHERE a.id = b.id",
        "DELETE FROM t a USING t b WHERE a.id = b.parent",
    ] {
        assert_eq!(bound(text), Boundedness::Bounded, "{text}");
    }
}

/// A function that stands for an operator need not have two arguments, and may stand where a predicate does or where a value does.
#[test]
fn functions_of_operators_with_any_number_of_arguments() {
    let names = "like notlike bpcharlike texticlike nameicnlike textregexeq nameicregexne regexp_like starts_with arraycontains \
                 jsonb_contained range_contains textcat jsonb_concat mod texteq int4lt int84ge tidne int4pl numeric_div float8mod nosuch";
    let arguments = ["", "b", "(b)", "b, c", "b, 1", "b, c, d", "1", "NULL", "VARIADIC b", "x => b", "DISTINCT b", "*"];
    let places = [
        "{}",
        "NOT {}",
        "{} = 1",
        "1 = {}",
        "{} IS NULL",
        "{} IS TRUE",
        "coalesce({}, true)",
        "{} AND b = 1",
        "CASE WHEN {} THEN {} END",
        "{} = {}",
        "{} LIKE {}",
        "({})::text LIKE 'a'",
        "EXISTS (SELECT {})",
        "b IN (SELECT {} FROM t)",
    ];
    for name in names.split_whitespace() {
        for arguments in arguments {
            for place in places {
                // What is not a restriction of the target's rows for sure may be anything; that there is an answer is asked.
                let _ = of(&place.replace("{}", &format!("{name}({arguments})")));
            }
        }
    }
}

#[test]
fn ctes_that_name_themselves_and_each_other_come_to_an_end() {
    for text in [
        "WITH RECURSIVE c(a) AS (SELECT 11 UNION ALL SELECT a + 1 FROM c WHERE a < 50) DELETE FROM t USING c WHERE c.a = t.a",
        "WITH RECURSIVE c AS (SELECT * FROM c) UPDATE t SET a = 1 FROM c WHERE c.a = t.a",
        "WITH RECURSIVE c AS (SELECT * FROM d), d AS (SELECT * FROM c) DELETE FROM t WHERE a IN (SELECT a FROM d)",
    ] {
        assert_eq!(bound(text), Boundedness::Bounded, "{text}");
    }
    // Without RECURSIVE its own name stands for the table.
    let own = "WITH t AS (SELECT id FROM t) DELETE FROM public.t AS x USING t y WHERE x.id = y.id";
    assert!(matches!(bound(own), Boundedness::Tautology(_)), "{:?}", bound(own));
    let chain: String = (1..2000).map(|i| format!(", c{i} AS (SELECT a FROM c{})", i - 1)).collect();
    let deep = format!("WITH c0 AS (SELECT 1 AS a){chain} DELETE FROM t USING c1999 c WHERE c.a = t.a");
    assert_eq!(bound(&deep), Boundedness::Bounded);
}

/// The cases of a file, one a line.
fn cases(file: &str) -> impl Iterator<Item = &str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with("--"))
}

fn all_are(file: &str, of: fn(&str) -> Boundedness, wanted: fn(&Boundedness) -> bool) {
    let wrong: Vec<_> = cases(file).map(|case| (case, of(case))).filter(|(_, bound)| !wanted(bound)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn predicates_by_category() {
    all_are(include_str!("../../../tests/cases/predicates/always-true.sql"), of, |bound| {
        matches!(bound, Boundedness::Tautology(_))
    });
    all_are(include_str!("../../../tests/cases/predicates/not-on-target.sql"), of, |bound| {
        matches!(bound, Boundedness::NotOnTarget(_))
    });
    all_are(include_str!("../../../tests/cases/predicates/bounded.sql"), of, |bound| *bound == Boundedness::Bounded);
}

#[test]
fn statements_by_category() {
    all_are(include_str!("../../../tests/cases/predicates/whole-table.sql"), bound, |bound| {
        matches!(bound, Boundedness::Tautology(_) | Boundedness::Missing)
    });
    all_are(include_str!("../../../tests/cases/predicates/part-of-table.sql"), bound, |bound| {
        matches!(bound, Boundedness::Bounded | Boundedness::NotApplicable)
    });
}
