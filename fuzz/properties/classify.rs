//! Any text: reading it ends, and what is found does not depend on what does not matter.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use pgbelay::config::{Policy, Role, Tier, default_policy};
use pgbelay::policy::{Confirmation, SessionTables, SessionView, StaticCatalog, Verdict, decide};
use pgbelay::sql::{Facts, Kind, Script, classify};

static POLICIES: LazyLock<[Policy; 3]> = LazyLock::new(|| {
    [(Role::Engineer, Tier::Prod), (Role::Service, Tier::Prod), (Role::Engineer, Tier::Stg)]
        .map(|(role, tier)| default_policy(role, tier))
});

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let script = classify(text);
    assert_eq!(script, classify(text), "read twice");
    well_formed(text, &script);
    behind_a_comment(text, &script);
    twice(text, &script);
    normalized(&script);
    reads_write_nothing(&script);
}

fn well_formed(text: &str, script: &Script) {
    let mut end = 0;
    for statement in &script.statements {
        assert!(statement.span.start >= end, "spans overlap");
        assert!(text.get(statement.span.clone()).is_some(), "a span is no part of the text");
        assert!(statement.normalized.len() <= 4096);
        assert_eq!(statement.fingerprint.len(), 16);
        assert!(!statement.tag.is_empty());
        end = statement.span.end;
    }
}

/// A comment behind a text changes neither what it is nor what is thought of it.
fn behind_a_comment(text: &str, script: &Script) {
    for comment in ["\n/* a comment */", "\n-- a comment", "\n/* ; DELETE FROM t */ \t"] {
        let commented = classify(&format!("{text}{comment}"));
        assert_eq!(script.statements.len(), commented.statements.len());
        for (one, other) in script.statements.iter().zip(&commented.statements) {
            same(one, other);
        }
        assert_eq!(verdicts(script), verdicts(&commented));
    }
}

/// A text that is understood, sent twice in one string, is both of its statements and no better than one.
fn twice(text: &str, script: &Script) {
    // A parenthesis left open, or the body of a routine, takes the second text in.
    let is_whole =
        |s: &Facts| s.normalized.len() < 4000 && is_closed(&s.normalized) && !s.normalized.contains("atomic");
    if !is_understood(script) || !script.statements.iter().all(is_whole) {
        return;
    }
    let both = classify(&format!("{text}\n;\n{text}"));
    assert_eq!(both.statements.len(), script.statements.len() * 2);
    for (one, other) in script.statements.iter().chain(&script.statements).zip(&both.statements) {
        same(one, other);
    }
    for (one, two) in verdicts(script).iter().zip(verdicts(&both)) {
        // What is refused alone is refused beside others; some rules refuse only what stands beside others.
        assert!(rank(one) <= rank(&two), "{one:?} alone, {two:?} twice");
    }
    let followed = classify(&format!("{text}\n;\nDELETE FROM victim"));
    assert!(
        followed.statements.iter().flat_map(|s| &s.writes).any(|w| w.table.name == "victim"),
        "a second statement is lost"
    );
}

/// Normalising what is normalised changes nothing, where the whole of it was parsed.
fn normalized(script: &Script) {
    let is_parsed = |s: &&Facts| {
        matches!(s.kind, Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge)
            && s.normalized.len() < 4000
    };
    for statement in script.statements.iter().filter(is_parsed) {
        let again = classify(&statement.normalized);
        if let [again] = again.statements.as_slice() {
            assert_eq!(statement.normalized, again.normalized);
        }
    }
}

/// What a read-only person may run, where it was understood, has no write and no lock in it.
fn reads_write_nothing(script: &Script) {
    if let Verdict::Allow(permit) = judged(script, &POLICIES[0]) {
        assert!(permit.guards.read_only);
        for statement in &script.statements {
            assert!(statement.writes.is_empty(), "a write passes");
            assert!(statement.hazards.is_empty(), "a hazard passes");
            assert!(statement.kind == Kind::Lock || statement.locks.is_empty(), "a lock passes");
            assert!(statement.kind != Kind::UnparsedMaybeWrite, "what was not understood passes");
        }
    }
}

fn same(one: &Facts, other: &Facts) {
    assert_eq!(one.kind, other.kind);
    assert_eq!(one.tag, other.tag);
    assert_eq!(one.writes, other.writes);
    assert_eq!(one.reads, other.reads);
    assert_eq!(one.functions, other.functions);
    assert_eq!(one.effects, other.effects);
    assert_eq!(one.locks, other.locks);
    assert_eq!(one.hazards, other.hazards);
    assert_eq!(one.fingerprint, other.fingerprint);
}

/// Whether every parenthesis that is opened is closed, and none before that. In a normalized text there are no literals, but there
/// are quoted names.
fn is_closed(normalized: &str) -> bool {
    let mut depth = 0i32;
    let outside_names = normalized.split('"').step_by(2);
    let never_below = outside_names.flat_map(str::chars).all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    });
    never_below && depth == 0
}

fn is_understood(script: &Script) -> bool {
    script.statements.iter().all(|s| !matches!(s.kind, Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite))
}

fn verdicts(script: &Script) -> [Verdict; 3] {
    POLICIES.each_ref().map(|policy| match judged(script, policy) {
        // The permit holds the script, whose spans may differ.
        Verdict::Allow(mut permit) => {
            permit.script = Arc::new(Script { statements: Vec::new(), traceparent: None });
            Verdict::Allow(permit)
        }
        refused => refused,
    })
}

fn judged(script: &Script, policy: &Policy) -> Verdict {
    let view = SessionView {
        database: "app",
        reason: Some("INC-42"),
        catalog: &StaticCatalog,
        tables: &SessionTables::default(),
        made: &BTreeSet::new(),
        confirmation: Confirmation::NotGiven,
    };
    decide(&Arc::new(script.clone()), policy, &view)
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow(_) => 0,
        Verdict::Confirm(_) => 1,
        Verdict::Deny(_) => 2,
    }
}
