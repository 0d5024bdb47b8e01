//! The audit trail as a whole: real files, real threads, processes that are killed, a disk that is full.

// Tests may fail loudly; clippy.toml knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pgbelay::audit::verify::{Finding, Options, Summary, verify};
use pgbelay::audit::{AuditError, AuditLog, Event, Record, SessionContext, StatementRecord, Written};
use pgbelay::config::{self, Role, Tier};
use pgbelay::policy::WouldDeny;
use proptest::prelude::*;

/// Tells a test process that it is a child, and where the trail is.
const CHILD: &str = "PGBELAY_TEST_AUDIT_CHILD";

struct Trail {
    dir: tempfile::TempDir,
    config: config::Audit,
}

impl Trail {
    fn new(rotate_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A directory that is not there yet is made.
        let path = dir.path().join("logs").join("audit.jsonl");
        Self { config: config::Audit { path, rotate_bytes, signing_key: None }, dir }
    }

    fn open(&self) -> AuditLog {
        AuditLog::open(&self.config).unwrap()
    }

    fn path(&self) -> &Path {
        &self.config.path
    }

    /// The current file and the rotated ones.
    fn files(&self) -> Vec<PathBuf> {
        let entries = self.path().parent().unwrap().read_dir().unwrap();
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect()
    }

    fn verify(&self) -> (Vec<String>, Summary) {
        let mut problems = Vec::new();
        let summary = verify(&self.files(), &Options::default(), &mut |finding| match finding {
            Finding::Problem(place, problem) => problems.push(format!("{place}: {problem}")),
            Finding::Note(_) => {}
        });
        (problems, summary.unwrap())
    }

    fn assert_whole(&self) -> Summary {
        let (problems, summary) = self.verify();
        assert_eq!(problems, Vec::<String>::new());
        summary
    }

    /// All records, in order.
    fn records(&self) -> Vec<serde_json::Value> {
        let mut records = Vec::new();
        for file in self.files() {
            let text = std::fs::read_to_string(file).unwrap();
            records.extend(text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()));
        }
        records.sort_by_key(|r| r["seq"].as_u64());
        records
    }

    fn messages(&self) -> Vec<String> {
        self.records().iter().filter_map(|r| r["message"].as_str().map(str::to_owned)).collect()
    }
}

fn record(message: &str) -> Record {
    Record { message: Some(message.to_owned()), ..Record::new(Event::Result) }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap()
}

#[test]
fn the_chain_goes_on_across_restarts_and_rotation() {
    let trail = Trail::new(2000);
    for round in 0..3 {
        let log = trail.open();
        for i in 0..10 {
            log.record(record(&format!("{round}.{i}"))).unwrap();
        }
        runtime().block_on(async {
            log.flush().await.unwrap();
            assert_eq!((log.queued(), log.failures(), log.lag()), (0, 0, Duration::ZERO));
            log.close().await.unwrap();
            log.close().await.unwrap();
        });
        assert!(!log.is_healthy());
        assert!(matches!(log.record(record("late")), Err(AuditError::Closed)));
        trail.assert_whole();
    }
    assert!(trail.files().len() > 4, "{:?}", trail.files());
    let messages = trail.messages();
    let count = |what: &str| messages.iter().filter(|m| m.starts_with(what)).count();
    assert_eq!((count("audit.started: pgbelay "), count("audit.stopped"), count("late")), (3, 3, 0));
    assert_eq!(count("audit.rotated: continues audit-0000"), trail.files().len() - 1);
    let own: Vec<_> = messages.iter().filter(|m| !m.starts_with("audit.")).cloned().collect();
    let expected: Vec<_> = (0..3).flat_map(|r| (0..10).map(move |i| format!("{r}.{i}"))).collect();
    assert_eq!(own, expected);
}

#[test]
fn a_log_that_is_only_dropped_still_writes_what_was_queued() {
    let trail = Trail::new(u64::MAX);
    let log = trail.open();
    for i in 0..1000 {
        log.record(record(&i.to_string())).unwrap();
    }
    drop(log);
    assert_eq!(trail.assert_whole().records, 1002);
    // And the lock is free.
    drop(trail.open());
}

#[test]
fn many_committers_at_once_are_all_on_disk_when_they_are_told_so() {
    const TASKS: usize = 50;
    const EACH: usize = 20;
    let trail = Trail::new(20_000);
    let log = trail.open();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let log = log.clone();
                tokio::spawn(async move {
                    for i in 0..EACH {
                        log.record(record(&format!("{task}.{i} queued"))).unwrap();
                        log.commit(record(&format!("{task}.{i} committed"))).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    // Nothing was closed or dropped yet: what commit promised is there now.
    let messages: Vec<_> = trail.messages().into_iter().filter(|m| !m.starts_with("audit.")).collect();
    assert_eq!(messages.len(), 2 * TASKS * EACH);
    for task in 0..TASKS {
        let prefix = format!("{task}.");
        let own: Vec<_> = messages.iter().filter(|m| m.starts_with(&prefix)).cloned().collect();
        let expected: Vec<_> =
            (0..EACH).flat_map(|i| [format!("{task}.{i} queued"), format!("{task}.{i} committed")]).collect();
        assert_eq!(own, expected, "each caller's records stand in the order it submitted them");
    }
    trail.assert_whole();
    drop(log);
    let times: Vec<_> = trail.records().iter().map(|r| r["time"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_second_log_on_the_same_trail_is_refused() {
    let trail = Trail::new(u64::MAX);
    let log = trail.open();
    let error = AuditLog::open(&trail.config).unwrap_err();
    assert!(matches!(error, AuditError::Locked { .. }), "{error}");
    drop(log);
    drop(trail.open());
}

#[test]
fn after_a_cut_at_any_byte_the_chain_goes_on_and_verifies() {
    let trail = Trail::new(u64::MAX);
    let log = trail.open();
    log.record(record("one")).unwrap();
    log.record(record("two")).unwrap();
    drop(log);
    let whole = std::fs::read(trail.path()).unwrap();
    // Every byte of the last two records, and an empty file.
    let ends: Vec<_> = (0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1).collect();
    for cut in std::iter::once(0).chain(ends[ends.len() - 3]..=whole.len()) {
        for entry in trail.path().parent().unwrap().read_dir().unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        std::fs::write(trail.path(), &whole[..cut]).unwrap();
        let torn = cut > 0 && whole[cut - 1] != b'\n';
        assert_eq!(trail.verify().0.iter().any(|p| p.contains("torn line")), torn, "cut at {cut}");
        drop(trail.open());
        let summary = trail.assert_whole();
        let kept = whole[..cut].iter().filter(|&&b| b == b'\n').count() as u64;
        assert_eq!(summary.records, kept + 2 + u64::from(torn), "cut at {cut}");
        assert_eq!(trail.messages().iter().any(|m| m.starts_with("audit.recovered: cut off a torn end")), torn);
    }
}

#[test]
fn a_cut_tail_is_shown_by_the_checkpoint_and_stops_the_next_start() {
    let mut trail = Trail::new(u64::MAX);
    let key = trail.dir.path().join("audit.key");
    let key_pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    std::fs::write(&key, key_pair.serialize_pem()).unwrap();
    trail.config.signing_key = Some(key);
    let log = trail.open();
    log.record(record("the deed")).unwrap();
    drop(log);
    trail.assert_whole();
    let public_key = pgbelay::audit::PublicKey::from_pem(key_pair.public_key_pem().as_bytes()).unwrap();
    let options = Options { public_key: Some(public_key), ..Options::default() };
    let mut problems = Vec::new();
    let mut report = |finding| match finding {
        Finding::Problem(_, problem) => problems.push(problem.to_string()),
        Finding::Note(_) => {}
    };
    verify(&trail.files(), &options, &mut report).unwrap();

    let text = std::fs::read_to_string(trail.path()).unwrap();
    let first = text.lines().next().unwrap();
    std::fs::write(trail.path(), format!("{first}\n")).unwrap();
    verify(&trail.files(), &options, &mut report).unwrap();
    assert!(problems.len() == 1 && problems[0].starts_with("trail ends at seq 1, but its checkpoint"), "{problems:?}");
    let error = AuditLog::open(&trail.config).unwrap_err();
    assert!(error.to_string().contains("signed at seq 3") && error.hint().contains("verify"), "{error}");
    assert_eq!(std::fs::read_to_string(trail.path()).unwrap().lines().count(), 1);
}

/// Not a test of its own: what the child processes of the tests below run.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let full = std::env::var_os("FULL").is_some();
    let rotate_bytes = if full { u64::MAX } else { 50_000 };
    let log = AuditLog::open(&config::Audit { path: path.into(), rotate_bytes, signing_key: None }).unwrap();
    let say = |text: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "said {text}").unwrap();
        out.flush().unwrap();
    };
    let name = |i: u64| format!("{}.{i}", std::process::id());
    runtime().block_on(async {
        for i in 0..1_000_000 {
            log.record(record("x")).unwrap_or(());
            match log.commit(record(&name(i))).await {
                Ok(()) => say(&name(i)),
                Err(error) => {
                    assert!(full, "{error}");
                    say(&format!("refused {}: {error}", name(i)));
                    break;
                }
            }
        }
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        log.commit(record("there is room again")).await.unwrap();
        log.close().await.unwrap();
        say("closed");
    });
}

fn spawn(mut command: Command, trail: &Trail) -> (Child, impl Iterator<Item = String>) {
    command.args(["child", "--exact", "--nocapture"]).env(CHILD, trail.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test runner's own output may stand before ours on the same line.
    (child, lines.filter_map(|l| l.ok()?.split_once("said ").map(|(_, text)| text.to_owned())))
}

#[test]
fn a_killed_process_leaves_a_trail_that_verifies_and_has_all_that_was_committed() {
    let trail = Trail::new(50_000);
    let mut committed = BTreeSet::new();
    for round in 0..8 {
        let (mut child, mut said) = spawn(Command::new(std::env::current_exe().unwrap()), &trail);
        committed.extend(said.by_ref().take(20 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts too.
        committed.extend(said);
        drop(trail.open());
        trail.assert_whole();
    }
    assert!(committed.len() >= 8 * 20);
    let kept: BTreeSet<_> = trail.messages().into_iter().collect();
    assert!(committed.is_subset(&kept), "{:?}", committed.difference(&kept).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_refuses_then_resumes_with_a_whole_chain() {
    let trail = Trail::new(u64::MAX);
    // The kernel's limit on file size stands in for a full disk: it lets the last write through in part. Only a signal that
    // is ignored makes it an error instead of the process's end.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 64; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    command.env("FULL", "1");
    let (mut child, mut said) = spawn(command, &trail);
    let refused = said.by_ref().find(|l| l.starts_with("refused ")).unwrap();
    assert!(refused.contains("audit trail cannot be written: File too large"), "{refused}");
    trail.assert_whole();

    let pid = child.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap().success());
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(said.next().as_deref(), Some("closed"));
    assert!(child.wait().unwrap().success());
    trail.assert_whole();
    let messages = trail.messages();
    let name = refused.split([' ', ':']).nth(1).unwrap();
    assert!(!messages.iter().any(|m| m == name), "what was refused is not in the trail");
    let mut end: Vec<_> = messages.iter().rev().take(3).map(|m| &m[..13]).collect();
    // The writer tries by itself, too: it may have resumed before there was anything to write.
    end.sort_unstable();
    assert_eq!(end, ["audit.resumed", "audit.stopped", "there is room"]);
    assert!(messages.last().unwrap().starts_with("audit.stopped"));
}

fn text() -> impl Strategy<Value = String> {
    // Any characters: quotes, control characters, several bytes.
    proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

prop_compose! {
    fn session()(
        id in text(), user in text(), role in proptest::option::of(proptest::sample::select(&Role::ALL[..])),
        database in text(), tier in proptest::option::of(proptest::sample::select(&Tier::ALL[..])),
        client in proptest::option::of(any::<std::net::SocketAddr>()),
        application_name in proptest::option::of(text()), tls in proptest::option::of(text()),
    ) -> SessionContext {
        SessionContext { id, user, role, database, tier, client, application_name, tls, written: Written::default() }
    }
}

prop_compose! {
    fn statement()(
        class in text(), kind in text(), tables in proptest::collection::vec(text(), 0..4), sql in text(),
        fingerprint in text(), traceparent in proptest::option::of(text()),
    ) -> StatementRecord {
        StatementRecord { class, kind, tables, sql, fingerprint, traceparent, written: Written::default() }
    }
}

prop_compose! {
    fn any_record()(
        event in proptest::sample::select(&[
            Event::SessionStart, Event::SessionEnd, Event::AuthFail, Event::Statement, Event::Result, Event::Deny,
            Event::Confirm, Event::Limit, Event::ConfigReload, Event::Admin,
        ][..]),
        session in proptest::option::of(session()), statement in proptest::option::of(statement()),
        numbers in any::<[Option<u64>; 6]>(), reason in proptest::option::of(text()),
        rule in proptest::option::of(proptest::sample::select(&["default", "unbounded-write"][..])),
        verdict in proptest::option::of(proptest::sample::select(&["allow", "deny"][..])),
        sqlstate in proptest::option::of(text()), message in proptest::option::of(text()),
        parameters in proptest::option::of(proptest::collection::vec(proptest::option::of(text()), 0..4)),
        reported in proptest::collection::vec(text(), 0..3),
    ) -> Record {
        let [statement_no, rows, bytes, duration, estimated_rows, cost] = numbers;
        Record {
            event, session: session.map(Arc::new), statement: statement.map(Arc::new), statement_no,
            reason: reason.map(Arc::from), rule, verdict, rows, bytes,
            estimated_rows, estimated_cost: cost.map(|n| (n % 1_000_000_000) as f64 / 100.0),
            duration: duration.map(Duration::from_micros), sqlstate, parameters, message,
            would_deny: reported.into_iter().map(would_deny).collect(),
        }
    }
}

fn would_deny(detail: String) -> WouldDeny {
    let (message, hint) = Default::default();
    WouldDeny { rule: "unbounded-write", verdict: "confirm", message, detail, hint }
}

/// What the documentation says a record's line holds, built without the code that writes it.
fn expected(record: &Record) -> serde_json::Map<String, serde_json::Value> {
    let mut fields = serde_json::Map::new();
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    put("event", Some(record.event.as_str().into()));
    if let Some(s) = &record.session {
        put("session", Some(s.id.clone().into()));
        put("user", Some(s.user.clone().into()));
        put("role", s.role.map(|r| r.as_str().into()));
        put("database", Some(s.database.clone().into()));
        put("tier", s.tier.map(|t| t.as_str().into()));
        put("client", s.client.map(|c| c.to_string().into()));
        put("application_name", s.application_name.clone().map(Into::into));
        put("tls", s.tls.clone().map(Into::into));
    }
    if let Some(s) = &record.statement {
        let filled = |text: &String| (!text.is_empty()).then(|| text.clone().into());
        put("class", filled(&s.class));
        put("kind", filled(&s.kind));
        put("tables", (!s.tables.is_empty()).then(|| s.tables.clone().into()));
        put("sql", Some(s.sql.clone().into()));
        put("fingerprint", filled(&s.fingerprint));
        put("traceparent", s.traceparent.clone().map(Into::into));
    }
    put("statement", record.statement_no.map(Into::into));
    put("reason", record.reason.as_deref().map(Into::into));
    put("rule", record.rule.map(Into::into));
    put("verdict", record.verdict.map(Into::into));
    let reported = record.would_deny.iter();
    let reported: Vec<_> =
        reported.map(|w| serde_json::json!({ "rule": w.rule, "verdict": w.verdict, "detail": w.detail })).collect();
    put("would_deny", (!reported.is_empty()).then(|| reported.into()));
    put("estimated_rows", record.estimated_rows.map(Into::into));
    put("estimated_cost", record.estimated_cost.map(Into::into));
    put("rows", record.rows.map(Into::into));
    put("bytes", record.bytes.map(Into::into));
    put("duration_us", record.duration.map(|d| (d.as_micros() as u64).into()));
    put("sqlstate", record.sqlstate.clone().map(Into::into));
    put("parameters", record.parameters.clone().map(Into::into));
    put("message", record.message.clone().map(Into::into));
    fields
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn what_is_recorded_is_what_is_read(records in proptest::collection::vec(any_record(), 1..20)) {
        let trail = Trail::new(10_000);
        let log = trail.open();
        for record in &records {
            log.record(record.clone()).unwrap();
        }
        drop(log);
        prop_assert_eq!(trail.verify().0, Vec::<String>::new());
        let own = |r: &serde_json::Value| r["message"].as_str().is_some_and(|m| m.starts_with("audit."));
        let read: Vec<_> = trail.records().into_iter().filter(|r| !own(r)).collect();
        prop_assert_eq!(read.len(), records.len());
        for (read, record) in read.into_iter().zip(&records) {
            let serde_json::Value::Object(mut fields) = read else { panic!("not an object") };
            for always in ["seq", "prev", "time", "hash"] {
                prop_assert!(fields.remove(always).is_some());
            }
            prop_assert_eq!(fields, expected(record));
        }
    }
}
