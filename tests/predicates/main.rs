//! Random predicates, judged by `classify` and by a real Postgres: what is called always true is true for every row of three
//! differently filled tables.
//!
//! Left aside is what docs/policy.md says: rows in which a column that the predicate names is NULL, NaN or infinite, or an array
//! with NULL in it. `PGBELAY_PREDICATES` sets how many are tried, `PGBELAY_PREDICATES_SEED` which.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly, in its helpers too")]

mod grammar;

use std::collections::{BTreeMap, HashSet};

use grammar::{COLUMNS, FILLS, Grammar, TABLES};
use pgbelay::dev::{Cluster, ClusterOptions};
use pgbelay::sql::{Boundedness, classify};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How many are asked in one query.
const BATCH: usize = 500;

/// What the server says of a predicate: for each fill and row, whether it selects the row.
type Selected = Vec<Vec<bool>>;

#[tokio::test]
async fn what_is_called_always_true_selects_every_row() {
    let wanted = number("PGBELAY_PREDICATES").unwrap_or(20_000);
    let seed = number("PGBELAY_PREDICATES_SEED").unwrap_or(7);
    println!("{wanted} predicates of seed {seed}");
    let server = Server::start().await;
    let mut grammar = Grammar::new(seed);
    let mut tally = Tally::default();
    let mut seen = HashSet::new();
    let mut batch = Vec::new();
    for _ in 0..wanted {
        let predicate = grammar.predicate();
        if seen.insert(predicate.clone()) {
            batch.push(predicate);
        }
        if batch.len() == BATCH {
            tally.judge(&server, std::mem::take(&mut batch)).await;
        }
    }
    tally.judge(&server, batch).await;
    tally.tell();
    assert!(tally.wrong.is_empty(), "called always true, and are not:\n{}", tally.wrong.join("\n"));
    // A generator that makes nothing but errors, or nothing of interest, tests nothing.
    assert!(tally.tried * 10 > seen.len() * 7, "too many cannot be run: {} of {}", tally.tried, seen.len());
    assert!(tally.not_read.len() * 50 < tally.tried, "too many are not read: {}", tally.not_read.len());
    assert!(tally.always_true * 100 > tally.tried, "too few are always true: {}", tally.always_true);
}

/// The tables that the predicates of tests/cases/predicates speak of; no column of t is NULL.
const KNOWN_TABLES: &str = "
CREATE TABLE t (id int PRIMARY KEY, a int, b int, name text, title text, status text, flag boolean, created_at timestamptz, uid uuid,
    tags text[], meta jsonb, a0 int, a1 int, a2 int, a3 int, a4 int, a5 int, a6 int, a7 int, a8 int, a9 int, a10 int, a11 int, a12 int,
    b1 int, b2 int, b3 int, b4 int);
INSERT INTO t SELECT i, i % 3, i % 2, chr(96 + i), 'T' || i, (ARRAY['open', 'closed', 'new'])[i % 3 + 1], i % 2 = 0,
    timestamptz '2019-06-01' + i * interval '4 months', md5(i::text)::uuid, ARRAY['a', chr(96 + i)], jsonb_build_object('a', i),
    i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i FROM generate_series(1, 12) i;
CREATE TABLE other (id int, x int, t_id int);
INSERT INTO other VALUES (1, 1, 1), (2, 5, 7);
CREATE TABLE x (a int);
INSERT INTO x VALUES (1), (1);
";

#[tokio::test]
async fn the_known_predicates_select_every_row() {
    let server = Server::start().await;
    server
        .client
        .batch_execute(&format!("CREATE SCHEMA known; SET search_path = known; {KNOWN_TABLES}"))
        .await
        .unwrap();
    let known = include_str!("../cases/predicates/always-true.sql");
    // Postgres 15 lacks what is newer, and a parameter has no value here.
    let version: i32 =
        server.client.query_one("SELECT current_setting('server_version_num')::int", &[]).await.unwrap().get(0);
    let mut wrong = Vec::new();
    for predicate in known.lines().filter(|line| !line.is_empty() && !line.starts_with("--") && !line.contains('$')) {
        if version < 150_000 && predicate.contains("regexp_") {
            continue;
        }
        let query = format!("SELECT count(*)::int FROM t WHERE ({predicate}) IS NOT TRUE");
        match server.client.query_one(&query, &[]).await.map(|row| row.get::<_, i32>(0)) {
            Ok(0) => {}
            Ok(rows) => wrong.push(format!("{predicate}: not for {rows} rows")),
            Err(error) => wrong.push(format!("{predicate}: {error:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

#[derive(Default)]
struct Tally {
    tried: usize,
    always_true: usize,
    not_on_target: usize,
    /// True for every row of every fill, and called bounded; by their form.
    missed: BTreeMap<String, (usize, String)>,
    /// Do not choose among the rows as far as `classify` tells, though they do here.
    choosing: Vec<String>,
    /// Not read: refused where it is guarded.
    not_read: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    async fn judge(&mut self, server: &Server, batch: Vec<String>) {
        let (mut read, mut bounds) = (Vec::new(), Vec::new());
        for predicate in batch {
            match bound(&predicate) {
                Some(bound) => {
                    read.push(predicate);
                    bounds.push(bound);
                }
                None => self.not_read.push(predicate),
            }
        }
        let bounded = bounds.iter().map(|bound| *bound == Boundedness::Bounded).collect();
        let selected = server.select(&read, bounded).await;
        for ((predicate, bound), selected) in read.into_iter().zip(bounds).zip(selected) {
            let Some(selected) = selected else { continue };
            self.tried += 1;
            let ordinary = server.ordinary(&predicate);
            let rows = || selected.iter().zip(&ordinary).flat_map(|(s, o)| s.iter().zip(o));
            let every_ordinary = rows().all(|(selected, ordinary)| *selected || !ordinary);
            let every = selected.iter().flatten().all(|selected| *selected);
            match bound {
                Boundedness::Tautology(_) | Boundedness::Missing => {
                    self.always_true += 1;
                    if !every_ordinary {
                        self.wrong.push(predicate);
                    }
                }
                Boundedness::NotOnTarget(_) => {
                    self.not_on_target += 1;
                    let part = |rows: &Vec<bool>| rows.contains(&true) && rows.contains(&false);
                    if selected.iter().any(part) {
                        self.choosing.push(predicate);
                    }
                }
                Boundedness::Bounded if every => {
                    let entry = self.missed.entry(form(&predicate)).or_insert((0, predicate));
                    entry.0 += 1;
                }
                Boundedness::Bounded => {}
                Boundedness::NotApplicable => panic!("no write: {predicate}"),
            }
        }
    }

    fn tell(&self) {
        let missed: usize = self.missed.values().map(|(count, _)| count).sum();
        println!(
            "{} could be run: {} called always true ({} wrongly), {} not to choose among the rows ({} do here), {missed} select \
             every row and are called bounded",
            self.tried,
            self.always_true,
            self.wrong.len(),
            self.not_on_target,
            self.choosing.len(),
        );
        println!("{} are not read", self.not_read.len());
        for predicate in self.not_read.iter().take(10) {
            println!("    not read: {predicate}");
        }
        for predicate in self.choosing.iter().take(40) {
            println!("    chooses: {predicate}");
        }
        let mut forms: Vec<_> = self.missed.values().collect();
        forms.sort_by_key(|(count, example)| (std::cmp::Reverse(*count), example.len()));
        for (count, example) in forms.into_iter().take(40) {
            println!("    {count} like: {example}");
        }
    }
}

fn bound(predicate: &str) -> Option<Boundedness> {
    let script = classify(&format!("DELETE FROM t WHERE {predicate}"));
    let writes = script.statements.iter().flat_map(|statement| &statement.writes);
    writes.map(|write| write.bound.clone()).next()
}

/// A predicate without the names and numbers in it.
fn form(predicate: &str) -> String {
    words(predicate)
        .map(|word| match word {
            word if COLUMNS.contains(&word) => "c",
            word if word.starts_with(|c: char| c.is_ascii_digit()) => "1",
            word if word.starts_with('\'') => "''",
            word => word,
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Its words, literals and signs.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let len = if first == '\'' {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else if first.is_ascii_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, left) = rest.split_at(len);
        rest = left;
        Some(word)
    })
}

/// For each fill a word of t and f, one for each row; NULL where the predicate is an error. `all_fills`: also when it is known
/// already that it does not select every row.
const SELECTED: &str = "
CREATE FUNCTION public.selected(predicate text, all_fills boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one text;
    fills text[];
BEGIN
    FOR fill IN 0..2 LOOP
        PERFORM set_config('search_path', 'fill_' || fill, true);
        EXECUTE 'SELECT string_agg(CASE WHEN ok THEN ''t'' ELSE ''f'' END, '''' ORDER BY at) FROM (SELECT ('
            || predicate || E'\\n) AS ok, ctid AS at FROM t OFFSET 0) r' INTO one;
        fills := fills || one;
        EXIT WHEN NOT all_fills AND one LIKE '%f%';
    END LOOP;
    RETURN array_to_string(fills, ' ');
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$";

struct Server {
    _cluster: Cluster,
    client: Client,
    /// For each fill and row, the columns that hold no ordinary value.
    odd: Vec<Vec<HashSet<String>>>,
}

impl Server {
    async fn start() -> Self {
        let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
        for (i, fill) in FILLS.iter().enumerate() {
            let schema = format!("CREATE SCHEMA fill_{i}; SET search_path = fill_{i}; {TABLES} {fill}; ANALYZE;");
            cluster.sql("postgres", &schema).unwrap();
        }
        let (user, password) = cluster.superuser();
        let url = format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", cluster.port());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.simple_query("SET jit = off; SET timezone = 'UTC'").await.unwrap();
        client.batch_execute(SELECTED).await.unwrap();
        let mut server = Self { _cluster: cluster, client, odd: Vec::new() };
        for i in 0..FILLS.len() {
            server.odd.push(server.odd_columns(i).await);
        }
        server
    }

    async fn odd_columns(&self, fill: usize) -> Vec<HashSet<String>> {
        let is_odd = COLUMNS.iter().map(|column| match *column {
            "d" | "ts" => format!("{column} IS NULL OR NOT isfinite({column})"),
            "f" => format!("{column} IS NULL OR {column} IN ('NaN', 'infinity', '-infinity')"),
            "tags" | "nums" => format!("{column} IS NULL OR array_position({column}, NULL) IS NOT NULL"),
            _ => format!("{column} IS NULL"),
        });
        let query = format!("SELECT {} FROM t ORDER BY ctid", is_odd.collect::<Vec<_>>().join(", "));
        let odd = self.ask(fill, &query).await.unwrap();
        let named = |row: Vec<bool>| {
            COLUMNS.iter().zip(row).filter(|(_, odd)| *odd).map(|(column, _)| (*column).to_owned()).collect()
        };
        odd.into_iter().map(named).collect()
    }

    /// For each fill and row, whether all that a predicate names holds ordinary values there.
    fn ordinary(&self, predicate: &str) -> Vec<Vec<bool>> {
        let named: HashSet<&str> = words(predicate).collect();
        let is_ordinary = |odd: &HashSet<String>| !odd.iter().any(|column| named.contains(column.as_str()));
        self.odd.iter().map(|rows| rows.iter().map(is_ordinary).collect()).collect()
    }

    /// Asks the server about predicates; `None` for those that are errors.
    async fn select(&self, batch: &Vec<String>, bounded: Vec<bool>) -> Vec<Option<Selected>> {
        let query = "SELECT public.selected(p, NOT b) FROM unnest($1::text[], $2::boolean[]) WITH ORDINALITY AS u(p, b, i) ORDER BY i";
        let rows = self.client.query(query, &[batch, &bounded]).await.unwrap();
        let selected =
            |answer: String| answer.split(' ').map(|rows| rows.bytes().map(|b| b == b't').collect()).collect();
        rows.into_iter().map(|row| row.get::<_, Option<String>>(0).map(selected)).collect()
    }

    async fn ask(&self, fill: usize, query: &str) -> Option<Vec<Vec<bool>>> {
        let text = format!("SET search_path = fill_{fill}; {query}");
        let messages = self.client.simple_query(&text).await.ok()?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i) == Some("t")).collect()),
            _ => None,
        });
        Some(rows.collect())
    }
}
