//! Random predicates over the table `t` of [`TABLES`].

/// What the predicates speak of; each schema is filled differently.
pub(crate) const TABLES: &str = "
CREATE TABLE t (id int NOT NULL, n int, m bigint, price numeric, f float8, name text, title text, flag boolean NOT NULL,
    opt boolean, d date, ts timestamptz, tags text[], nums int[], meta jsonb, uid uuid);
CREATE TABLE o (k int, t_id int, label text, ok boolean);
";

/// Columns of `t`.
pub(crate) const COLUMNS: &[&str] =
    &["id", "n", "m", "price", "f", "name", "title", "flag", "opt", "d", "ts", "tags", "nums", "meta", "uid"];

/// The rows of each schema: NULLs, duplicates, empty texts and arrays, numbers around those that the predicates name.
pub(crate) const FILLS: &[&str] = &[
    "INSERT INTO t VALUES
        (1, 1, 1, 1.5, 0.5, 'a', 'A', true, true, '2024-01-31', '2024-01-31 10:00+00', '{a,b}', '{1,2}', '{\"a\": 1}', '00000000-0000-0000-0000-000000000000'),
        (2, NULL, 5, 2.0, 'NaN', '', NULL, false, NULL, NULL, '2024-02-29', '{}', '{}', '{}', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
        (3, 0, -3, 0, '-infinity', 'ab', '', true, false, '1999-12-31', NULL, '{a}', NULL, '[1, 2]', NULL),
        (5, 5, 5, 5.00, 5, 'a%', '5', false, true, '2030-06-15', '2030-06-15', NULL, '{5}', NULL, '0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a'),
        (-4, -4, NULL, -0.25, NULL, NULL, ' b ', true, NULL, 'infinity', '-infinity', '{b,c,NULL}', '{-4,0}', '\"a\"', NULL);
     INSERT INTO o VALUES (1, 1, 'a', true), (2, 5, 'b', false), (NULL, NULL, NULL, NULL);",
    "INSERT INTO t VALUES
        (0, 0, 0, 0, 0, 'x', 'x', false, false, '2024-01-01', '2024-01-01', '{x}', '{0}', '1', '00000000-0000-0000-0000-000000000001'),
        (7, 7, 7, 7, 7, 'B', 'b', true, true, '2024-01-02', '2024-01-02', '{a,a}', '{7,7}', '{\"b\": null}', '00000000-0000-0000-0000-000000000001'),
        (7, 3, 2, 2.5, 2.5, E'a\\\\b', '_', true, false, '2024-03-01', '2024-03-01', '{b}', '{3,2,1}', 'null', '00000000-0000-0000-0000-000000000002');
     INSERT INTO o VALUES (7, 7, 'B', true);",
    "INSERT INTO t SELECT i, nullif(i, 4), i * i, i / 4.0, i / 3.0::float8, chr(96 + i) || 'b', repeat('a', i), i % 2 = 0, i % 3 = 0,
        date '2024-01-01' + i, timestamptz '2024-01-01' + i * interval '1 month', ARRAY['a', chr(96 + i)], ARRAY[i, -i],
        jsonb_build_object('a', i), md5(i::text)::uuid FROM generate_series(1, 9) i;
     INSERT INTO o SELECT i, i + 1, 'l' || i, i % 2 = 0 FROM generate_series(1, 5) i;",
];

/// SplitMix64: the same predicates for the same seed, on every machine.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// The types that expressions are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Int,
    Numeric,
    Float,
    Text,
    Bool,
    Date,
    Time,
    Texts,
    Ints,
    Json,
    Uuid,
}

const COMPARED: &[Type] = &[
    Type::Int,
    Type::Int,
    Type::Int,
    Type::Int,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Numeric,
    Type::Float,
    Type::Bool,
    Type::Date,
    Type::Time,
    Type::Texts,
    Type::Ints,
    Type::Json,
    Type::Uuid,
];

const COMPARISONS: &[&str] = &["=", "=", "=", "<>", "<", "<=", ">", ">=", "!=", "OPERATOR(pg_catalog.=)"];

/// Makes predicates. What it has made it says again now and then, so that identities and complements come about.
#[derive(Debug)]
pub(crate) struct Grammar {
    random: Random,
    said: Vec<(Type, String)>,
}

impl Grammar {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), said: Vec::new() }
    }

    /// A predicate.
    pub(crate) fn predicate(&mut self) -> String {
        self.said.clear();
        let depth = 1 + self.random.below(3);
        self.bool(depth)
    }

    /// An expression of a type, in parentheses where it could be torn apart; now and then without.
    fn any(&mut self, of: Type, depth: usize) -> String {
        if self.random.chance(35) {
            let known: Vec<usize> = (0..self.said.len()).filter(|i| self.said[*i].0 == of).collect();
            if !known.is_empty() {
                let at = known[self.random.below(known.len())];
                return self.said[at].1.clone();
            }
        }
        let text = if depth == 0 { self.leaf(of) } else { self.expression(of, depth - 1) };
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'\''));
        let text = if plain || self.random.chance(4) { text } else { format!("({text})") };
        self.said.push((of, text.clone()));
        text
    }

    fn leaf(&mut self, of: Type) -> String {
        let r = &mut self.random;
        let choices: &[&str] = match of {
            Type::Int => &["id", "id", "id", "n", "n", "m", "t.id", "t.n", "0", "1", "2", "5", "7", "10"],
            Type::Numeric => &["price", "price", "1.5", "0", "2.0", "5"],
            Type::Float => &["f", "f", "0.5", "5"],
            Type::Text => &["name", "name", "title", "t.name", "''", "'a'", "'ab'", "'B'", "'%'", "'5'"],
            Type::Bool => &["flag", "opt", "t.flag", "true", "false", "NULL::boolean"],
            Type::Date => {
                &["d", "d", "date '2024-01-31'", "'2024-01-01'::date", "'infinity'::date", "date '1999-12-31'"]
            }
            Type::Time => &["ts", "ts", "timestamptz '2024-01-31'", "now()", "'-infinity'::timestamptz"],
            Type::Texts => &["tags", "tags", "'{}'::text[]", "ARRAY['a']", "'{a,b}'::text[]", "ARRAY[]::text[]"],
            Type::Ints => &["nums", "nums", "'{}'::int[]", "ARRAY[1, 2]", "'{5}'::int[]"],
            Type::Json => &["meta", "meta", "'{}'::jsonb", "'{\"a\": 1}'::jsonb"],
            Type::Uuid => &["uid", "uid", "'00000000-0000-0000-0000-000000000000'::uuid"],
        };
        r.of(choices).to_owned()
    }

    fn expression(&mut self, of: Type, depth: usize) -> String {
        // Forms that every type has.
        match self.random.below(14) {
            0 => {
                let (a, b) = (self.any(of, depth), self.any(of, depth));
                return format!("coalesce({a}, {b})");
            }
            1 => {
                let (a, b) = (self.any(of, depth), self.any(of, depth));
                return format!("nullif({a}, {b})");
            }
            2 => {
                let (when, a, b) = (self.any(Type::Bool, depth), self.any(of, depth), self.any(of, depth));
                return format!("CASE WHEN {when} THEN {a} ELSE {b} END");
            }
            3 if of != Type::Json && of != Type::Bool => {
                let which = self.random.of(&["greatest", "least"]);
                let (a, b) = (self.any(of, depth), self.any(of, depth));
                return format!("{which}({a}, {b})");
            }
            4 => {
                let value = self.any(of, depth);
                return format!("(SELECT {value})");
            }
            5 | 6 => return self.leaf(of),
            _ => {}
        }
        match of {
            Type::Int => self.int(depth),
            Type::Numeric => {
                let (a, b) = (self.any(of, depth), self.any(of, depth));
                match self.random.below(6) {
                    0 => format!("{a} + {b}"),
                    1 => format!("{a} - {b}"),
                    2 => format!("abs({a})"),
                    3 => format!("round({a})"),
                    4 => format!("floor({a})"),
                    _ => format!("-{a}"),
                }
            }
            Type::Float => {
                let a = self.any(of, depth);
                match self.random.below(3) {
                    0 => format!("abs({a})"),
                    1 => format!("({a})::float8"),
                    _ => self.leaf(of),
                }
            }
            Type::Text => self.text(depth),
            Type::Bool => self.bool(depth),
            Type::Date => {
                let (a, n) = (self.any(Type::Date, depth), self.random.of(&["0", "1", "id"]));
                if a.contains("infinity") { a } else { format!("{a} + {n}") }
            }
            Type::Time => {
                let a = self.any(Type::Time, depth);
                match self.random.below(3) {
                    0 => format!("date_trunc('day', {a})"),
                    1 => format!("{a} + interval '1 month'"),
                    _ => format!("({a})::timestamptz"),
                }
            }
            Type::Texts => {
                let (a, b) = (self.any(Type::Text, depth), self.any(Type::Text, depth));
                match self.random.below(3) {
                    0 => format!("ARRAY[{a}, {b}]"),
                    1 => format!("array_remove(tags, {a})"),
                    _ => self.leaf(of),
                }
            }
            Type::Ints => {
                let (a, b) = (self.any(Type::Int, depth), self.any(Type::Int, depth));
                format!("ARRAY[{a}, {b}]::int[]")
            }
            Type::Json => {
                let a = self.any(Type::Json, depth);
                match self.random.below(4) {
                    0 => format!("({a})->'a'"),
                    1 => format!("to_jsonb({})", self.any(Type::Int, depth)),
                    2 => format!("CASE WHEN jsonb_typeof({a}) = 'object' THEN {a} - 'a' ELSE {a} END"),
                    _ => "to_jsonb(t)".to_owned(),
                }
            }
            Type::Uuid => self.leaf(of),
        }
    }

    fn int(&mut self, depth: usize) -> String {
        let (a, b) = (self.any(Type::Int, depth), self.any(Type::Int, depth));
        match self.random.below(26) {
            0 | 1 => format!("{a} + {b}"),
            2 | 3 => format!("{a} - {b}"),
            4 => format!("{a} * {b}"),
            5 => format!("-{a}"),
            6 => format!("abs({a})"),
            7 => format!("{a} % {}", self.random.of(&["2", "10", "-3"])),
            8 => format!("{a} / {}", self.random.of(&["1", "2", "3"])),
            9 => format!("length({})", self.any(Type::Text, depth)),
            10 => format!("({a})::bigint"),
            11 => format!("({a})::text::bigint"),
            12 => format!("sign({a})::int"),
            13 => format!("(SELECT count(*) FROM o WHERE o.k = {a})"),
            14 => format!("(SELECT count(*) FROM t x WHERE x.id = {a})"),
            15 => format!("(SELECT {}(x.id) FROM t x)", self.random.of(&["max", "min"])),
            16 => format!("(SELECT {}(x.id) FROM t x WHERE x.name = t.name)", self.random.of(&["max", "min"])),
            17 => format!("cardinality({})", self.any(Type::Ints, depth)),
            18 => format!("array_length({}, 1)", self.any(Type::Ints, depth)),
            19 => format!("num_nulls({a}, {})", self.any(Type::Text, depth)),
            20 => format!("position({} in {})", self.any(Type::Text, depth), self.any(Type::Text, depth)),
            21 => format!("{a} # {b}"),
            22 => format!("{a} & {b}"),
            23 => format!("({a}) | {b}"),
            24 => format!("pg_column_size({a})"),
            _ => format!("(@ {a})"),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let (a, b) = (self.any(Type::Text, depth), self.any(Type::Text, depth));
        match self.random.below(16) {
            0 | 1 => format!("{a} || {b}"),
            2 => format!("lower({a})"),
            3 => format!("upper({a})"),
            4 => format!("trim({a})"),
            5 => format!("({})::text", self.any(Type::Int, depth)),
            6 => format!("({a})::text"),
            7 => format!("left({a}, {})", self.random.of(&["0", "1", "5"])),
            8 => format!("substr({a}, {})", self.random.of(&["1", "2"])),
            9 => format!("replace({a}, {b}, {b})"),
            10 => format!("reverse({a})"),
            11 => format!("concat({a}, {b})"),
            12 => format!("({a} COLLATE \"C\")"),
            13 => format!("md5({a})"),
            14 => format!("repeat({a}, {})", self.random.of(&["0", "1", "2"])),
            _ => format!("substring({a} from {})", self.random.of(&["1", "2", "'a'"])),
        }
    }

    fn bool(&mut self, depth: usize) -> String {
        match self.random.below(34) {
            0..=3 => {
                let (a, b) = (self.any(Type::Bool, depth), self.any(Type::Bool, depth));
                format!("{a} {} {b}", self.random.of(&["OR", "AND"]))
            }
            4 => {
                let a = self.any(Type::Bool, depth);
                format!("{a} OR NOT {a}")
            }
            5 => {
                let of = COMPARED[self.random.below(COMPARED.len())];
                let (a, b) = (self.any(of, depth), self.any(of, depth));
                let (one, two) = (self.random.of(COMPARISONS), self.random.of(COMPARISONS));
                format!("{a} {one} {b} OR {a} {two} {b}")
            }
            6 => {
                let a = self.any(Type::Int, depth);
                let (one, two) = (self.random.of(COMPARISONS), self.random.of(COMPARISONS));
                let (b, c) = (self.random.below(8), self.random.below(8));
                format!("{a} {one} {b} {} {a} {two} {c}", self.random.of(&["OR", "OR", "AND"]))
            }
            7 => {
                let a = self.any(Type::Text, depth);
                let (one, two) = (self.random.of(COMPARISONS), self.random.of(COMPARISONS));
                let (b, c) = (self.random.of(&["'a'", "'x'", "'B'"]), self.random.of(&["'a'", "'x'", "'ab'"]));
                format!("{a} {one} {b} OR {a} {two} {c}")
            }
            8 => format!("NOT {}", self.any(Type::Bool, depth)),
            9 => {
                let test = self.random.of(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"]);
                format!("({}) IS {test}", self.any(Type::Bool, depth))
            }
            10 => {
                let of = COMPARED[self.random.below(COMPARED.len())];
                format!("({}) IS {}NULL", self.any(of, depth), self.random.of(&["", "NOT "]))
            }
            11 => {
                let of = COMPARED[self.random.below(COMPARED.len())];
                let not = self.random.of(&["", "NOT "]);
                format!("{} IS {not}DISTINCT FROM {}", self.any(of, depth), self.any(of, depth))
            }
            12 | 13 => {
                let of = COMPARED[self.random.below(COMPARED.len())];
                let how = self.random.of(&["", "NOT ", "", "NOT "]);
                let symmetric = self.random.of(&["", "", "SYMMETRIC ", "ASYMMETRIC "]);
                let (a, b, c) = (self.any(of, depth), self.any(of, depth), self.any(of, depth));
                format!("{a} {how}BETWEEN {symmetric}{b} AND {c}")
            }
            14 | 15 => {
                let of = COMPARED[self.random.below(COMPARED.len())];
                let a = self.any(of, depth);
                let list: Vec<String> = (0..1 + self.random.below(3)).map(|_| self.any(of, depth)).collect();
                format!("{a} {}IN ({})", self.random.of(&["", "NOT "]), list.join(", "))
            }
            16 => {
                let (op, quantifier) = (self.random.of(COMPARISONS), self.random.of(&["ANY", "ALL"]));
                let of = if self.random.chance(50) { (Type::Int, Type::Ints) } else { (Type::Text, Type::Texts) };
                format!("{} {op} {quantifier} ({})", self.any(of.0, depth), self.any(of.1, depth))
            }
            17 => {
                let op = self.random.of(&["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "SIMILAR TO", "~~", "!~~"]);
                let pattern = match self.random.below(3) {
                    0 => "'%'".to_owned(),
                    1 => self.random.of(&["'a%'", "'%%'", "'_%'", "''", "'%b'"]).to_owned(),
                    _ => self.random.of(&["'%' || ''", "name", "lower('%')"]).to_owned(),
                };
                format!("{} {op} {pattern}", self.any(Type::Text, depth))
            }
            18 => {
                let op = self.random.of(&["~", "~*", "!~"]);
                let patterns =
                    ["''", "'.*'", "'a*'", "'^'", "'$'", "'^.*$'", "'a|b*'", "'^a*$'", "'.'", "'(a|)'", "'[a]?'"];
                format!("{} {op} {}", self.any(Type::Text, depth), self.random.of(&patterns))
            }
            19 => {
                let (a, b) = (self.any(Type::Text, depth), self.any(Type::Text, depth));
                self.random
                    .of(&["starts_with({a}, {b})", "{a} ^@ {b}", "texteq({a}, {b})"])
                    .replace("{a}", &a)
                    .replace("{b}", &b)
            }
            20 => {
                let (a, b) = (self.any(Type::Int, depth), self.any(Type::Text, depth));
                let (c, d) = (self.any(Type::Int, depth), self.any(Type::Text, depth));
                let row = self.random.of(&["", "ROW"]);
                format!("{row}({a}, {b}) {} {row}({c}, {d})", self.random.of(&["=", "<>", "<", "<=", ">", ">="]))
            }
            21 | 22 => self.exists(depth),
            23 | 24 => self.in_query(depth),
            25 => {
                let of = if self.random.chance(50) { Type::Ints } else { Type::Texts };
                format!("{} {} {}", self.any(of, depth), self.random.of(&["@>", "<@", "&&"]), self.any(of, depth))
            }
            26 => {
                let (a, b) = (self.any(Type::Bool, depth), self.any(Type::Bool, depth));
                format!("({a}) {} ({b})", self.random.of(&["=", "<>", "<=", ">="]))
            }
            27 => {
                let (a, b, c) = (self.any(Type::Bool, depth), self.any(Type::Bool, depth), self.any(Type::Bool, depth));
                format!("CASE WHEN {a} THEN {b} ELSE {c} END")
            }
            28 => {
                let (a, b) = (self.any(Type::Int, depth), self.any(Type::Int, depth));
                format!(
                    "CASE {a} WHEN {b} THEN {} WHEN 5 THEN true ELSE {} END",
                    self.leaf(Type::Bool),
                    self.leaf(Type::Bool)
                )
            }
            29 => self
                .random
                .of(&[
                    "ctid >= '(0,0)'",
                    "ctid > '(0,2)'",
                    "ctid IS NOT NULL",
                    "tableoid IS NOT NULL",
                    "t IS NOT NULL",
                    "NOT (t IS NULL)",
                    "t = t",
                    "t.* IS NOT DISTINCT FROM t.*",
                    "(t).id = id",
                    "d <= 'infinity'",
                    "ts >= '-infinity'",
                    "name >= ''",
                    "uid >= '00000000-0000-0000-0000-000000000000'",
                    "d > '2024-01-01' OR d < '2024-01-02'",
                    "t::text = t::text",
                ])
                .to_owned(),
            _ => {
                let of = COMPARED[self.random.below(COMPARED.len())];
                format!("{} {} {}", self.any(of, depth), self.random.of(COMPARISONS), self.any(of, depth))
            }
        }
    }

    /// A FROM that has the target's table in it or not, and what is asked of it.
    fn from(&mut self) -> (&'static str, &'static str) {
        const FROM: &[(&str, &str)] = &[
            ("t x", "x.id"),
            ("t x", "x.n"),
            ("t x", "id"),
            ("o", "o.k"),
            ("o", "o.t_id"),
            ("(SELECT * FROM t) x", "x.id"),
            ("(SELECT id AS i, n FROM t) x", "x.i"),
            ("(SELECT id + 1 AS i FROM t) x", "x.i"),
            ("(SELECT id FROM t WHERE flag) x", "x.id"),
            ("(SELECT id FROM t ORDER BY id LIMIT 2) x", "x.id"),
            ("(VALUES (1), (5)) x(i)", "x.i"),
            ("(VALUES (t.id)) x(i)", "x.i"),
            ("(SELECT t.id) x", "x.id"),
            ("t x JOIN t y ON x.id = y.id", "x.id"),
            ("t x JOIN t y USING (id)", "y.id"),
            ("t x JOIN o ON o.k = x.id", "x.id"),
            ("t x LEFT JOIN o ON o.k = x.id", "x.id"),
            ("o LEFT JOIN t x ON o.k = x.id", "x.id"),
            ("o FULL JOIN t x ON o.k = x.id", "x.id"),
            ("t x CROSS JOIN o", "x.id"),
            ("t x, o", "x.id"),
            ("t x CROSS JOIN LATERAL (SELECT x.id + 1 AS i) y", "y.i"),
            ("generate_series(1, 5) x", "x"),
            ("generate_series(t.id, t.id) x", "x"),
            ("unnest(ARRAY[1, t.id]) x", "x"),
            ("unnest(t.nums) x", "x"),
        ];
        FROM[self.random.below(FROM.len())]
    }

    fn exists(&mut self, depth: usize) -> String {
        let (from, column) = self.from();
        let op = self.random.of(&["=", "=", "=", "<>", "<", ">=", "IS NOT DISTINCT FROM"]);
        let mut filter = match self.random.below(4) {
            0 => format!("{column} {op} {}", self.random.of(&["t.id", "t.n", "5"])),
            1 | 2 => format!("{column} {op} t.id"),
            _ => "t.id = t.id".to_owned(),
        };
        if self.random.chance(25) {
            let more = self.leaf(Type::Bool).replace("flag", "t.flag").replace("t.t.", "t.").replace("opt", "t.opt");
            filter = format!("{filter} {} {more}", self.random.of(&["AND", "OR"]));
        }
        let not = self.random.of(&["", "", "", "NOT "]);
        let end = self.random.of(&["", "", "", "", " LIMIT 1", " LIMIT 0", " OFFSET 1", " GROUP BY 1"]);
        let list = if end == " GROUP BY 1" {
            column
        } else {
            self.random.of(&["1", "*", column, "NULL", "count(*)", "max(t.id)"])
        };
        let _ = depth;
        format!("{not}EXISTS (SELECT {list} FROM {from} WHERE {filter}{end})")
    }

    fn in_query(&mut self, depth: usize) -> String {
        let (from, column) = self.from();
        let (query, left) = match self.random.below(9) {
            0 => (format!("VALUES ({}), (7)", self.random.of(&["t.id", "t.n", "1"])), self.any(Type::Int, depth)),
            1 => (format!("SELECT {}", self.random.of(&["t.id", "id", "n + 0"])), self.any(Type::Int, depth)),
            2 => ("SELECT id FROM t UNION SELECT 5".to_owned(), "id".to_owned()),
            3 => ("SELECT id FROM t INTERSECT SELECT id FROM t x".to_owned(), "id".to_owned()),
            4 => ("SELECT id FROM t EXCEPT SELECT 5".to_owned(), "id".to_owned()),
            5 => {
                let filter =
                    self.random.of(&["", " WHERE x.n = t.n", " WHERE x.id = t.id", " WHERE flag", " WHERE x.id > 1"]);
                (format!("SELECT x.id, x.name FROM t x{filter}"), "(t.id, t.name)".to_owned())
            }
            6 => ("WITH c AS (SELECT id AS i FROM t) SELECT i FROM c".to_owned(), "id".to_owned()),
            _ => {
                let filter =
                    self.random.of(&["", "", " WHERE true", " WHERE t.id = t.id", " WHERE t.n > 2", " WHERE 1 = 2"]);
                (format!("SELECT {column} FROM {from}{filter}"), self.random.of(&["id", "n", "id + 0", "5"]).to_owned())
            }
        };
        match self.random.below(4) {
            0 => {
                let op = self.random.of(&["=", "<>", "<=", ">", ">="]);
                let op = if left.starts_with("(t.id,") { "=" } else { op };
                format!("{left} {op} {} ({query})", self.random.of(&["ANY", "ALL", "SOME"]))
            }
            1 => format!("{left} NOT IN ({query})"),
            _ => format!("{left} IN ({query})"),
        }
    }
}
