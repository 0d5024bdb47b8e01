//! Runs tests/cases/verdict/{allow,deny}/*.sql: one case a file, judged without any database.
//!
//! A case begins with comment lines `-- key: value`: `role` and `tier` (needed); `reason: none`; in `deny/` also `rule` (needed),
//! `verdict: confirm`, and `message`, `detail`, `hint`, `sqlstate`, parts that must be found; in `allow/` also `verdict` (`allow`,
//! `guarded`, `read_only`) and `notice`, the rule of a notice.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgbelay::config::default_policy;
use pgbelay::policy::{Denial, Permit, SessionTables, SessionView, StaticCatalog, Verdict, decide};
use pgbelay::sql::classify;

#[test]
fn denied() {
    run("deny", check_denied);
}

#[test]
fn allowed() {
    run("allow", check_allowed);
}

type Keys = BTreeMap<String, String>;

fn run(folder: &str, check: fn(&Keys, &Verdict) -> Result<(), String>) {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/verdict").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", cases.display());
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let (keys, verdict) = judge(&fs::read_to_string(file).unwrap());
            let problem = check(&keys, &verdict).err()?;
            Some(format!("{}: {problem}\n    {verdict:?}", file.file_name().unwrap().to_string_lossy()))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), files.len(), failures.join("\n"));
}

fn judge(text: &str) -> (Keys, Verdict) {
    let mut keys = Keys::new();
    let mut lines = text.lines().peekable();
    while let Some((key, value)) =
        lines.peek().and_then(|line| line.strip_prefix("-- ")).and_then(|line| line.split_once(": "))
    {
        keys.insert(key.to_owned(), value.to_owned());
        lines.next();
    }
    let sql = lines.collect::<Vec<_>>().join("\n");
    let policy = default_policy(keys["role"].parse().unwrap(), keys["tier"].parse().unwrap());
    let reason = if keys.get("reason").is_some_and(|reason| reason == "none") { None } else { Some("INC-42") };
    let view = SessionView {
        database: "app",
        reason,
        catalog: &StaticCatalog,
        tables: SessionTables::NONE,
        made: &BTreeSet::new(),
        confirmation: pgbelay::policy::Confirmation::NotGiven,
    };
    (keys, decide(&Arc::new(classify(&sql)), &policy, &view))
}

fn check_denied(keys: &Keys, verdict: &Verdict) -> Result<(), String> {
    let wants_confirm = keys.get("verdict").is_some_and(|verdict| verdict == "confirm");
    let denial: &Denial = match verdict {
        Verdict::Deny(denial) if !wants_confirm => denial,
        Verdict::Confirm(pending) if wants_confirm => &pending.denial,
        Verdict::Deny(_) | Verdict::Confirm(_) | Verdict::Allow(_) => return Err("another verdict".to_owned()),
    };
    let found = [
        ("rule", denial.rule),
        ("sqlstate", denial.sqlstate),
        ("message", &denial.message),
        ("detail", &denial.detail),
        ("hint", &denial.hint),
    ];
    let missing = found.iter().find(|(key, text)| keys.get(*key).is_some_and(|part| !text.contains(part.as_str())));
    match missing {
        Some((key, _)) => Err(format!("{key} lacks \"{}\"", keys[*key])),
        None if !keys.contains_key("rule") => Err("the case names no rule".to_owned()),
        None => Ok(()),
    }
}

fn check_allowed(keys: &Keys, verdict: &Verdict) -> Result<(), String> {
    let permit: &Permit = match verdict {
        Verdict::Allow(permit) => permit,
        Verdict::Deny(_) | Verdict::Confirm(_) => return Err("refused".to_owned()),
    };
    let name = permit.guards.verdict_name();
    if keys.get("verdict").is_some_and(|wanted| wanted != name) {
        return Err(format!("verdict is {name}"));
    }
    match keys.get("notice") {
        Some(rule) if !permit.notices.iter().any(|notice| notice.rule == rule) => Err(format!("no notice of {rule}")),
        _ => Ok(()),
    }
}
