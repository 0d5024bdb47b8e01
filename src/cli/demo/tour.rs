//! The guided tour: each step shows a command and its real output, and checks that it did what the step says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::screen::{Screen, Seen, watch};
use super::site::{Site, User};
use super::{DemoError, Interrupt, own_program};
use crate::config::Tier;

/// One psql call.
struct Step {
    title: &'static str,
    user: User,
    tier: Tier,
    /// Given through PGOPTIONS: people must say why they are on prod.
    reason: Option<&'static str>,
    /// Each becomes a `-c`.
    sql: &'static [&'static str],
    /// What the output must contain.
    shows: &'static [&'static str],
    /// Whether psql ends well.
    succeeds: bool,
    /// A query to the database itself, past the proxy, and what it must answer.
    truth: (&'static str, &'static str),
    /// What has been proved.
    proves: &'static str,
}

const DRAFTS: &str = "SELECT count(*) FROM email_drafts";

const STEPS: &[Step] = &[
    Step {
        title: "alice, an engineer, looks around on prod, as with any Postgres",
        user: User::Alice,
        tier: Tier::Prod,
        reason: None,
        sql: &[r"\d email_drafts"],
        shows: &["Table \"public.email_drafts\"", "email_drafts_pkey"],
        succeeds: true,
        truth: (DRAFTS, "5000"),
        proves: "psql's own commands work through the proxy",
    },
    Step {
        title: "To read data there, a person says why",
        user: User::Alice,
        tier: Tier::Prod,
        reason: None,
        sql: &["SELECT count(*) FROM email_drafts"],
        shows: &["ERROR:  ", "DETAIL:  rule reason-required: ", "HINT:  "],
        succeeds: false,
        truth: (DRAFTS, "5000"),
        proves: "refused, and the HINT shows the way",
    },
    Step {
        title: "So she does",
        user: User::Alice,
        tier: Tier::Prod,
        reason: Some("INC-42"),
        sql: &["SELECT status, count(*) FROM email_drafts GROUP BY status ORDER BY status"],
        shows: &["pending |  4500", "sent    |   500"],
        succeeds: true,
        truth: (DRAFTS, "5000"),
        proves: "rows come through unchanged; the reason goes into the audit trail",
    },
    Step {
        title: "The application writes to one row on prod",
        user: User::App,
        tier: Tier::Prod,
        reason: None,
        sql: &["UPDATE email_drafts SET status = 'sent' WHERE id = 42"],
        shows: &["UPDATE 1"],
        succeeds: true,
        truth: ("SELECT status FROM email_drafts WHERE id = 42", "sent"),
        proves: "a bounded write runs; the database has it",
    },
    Step {
        title: "It forgets the WHERE",
        user: User::App,
        tier: Tier::Prod,
        reason: None,
        sql: &["DELETE FROM email_drafts"],
        shows: &["ERROR:  ", "not allowed on prod", "DETAIL:  rule unbounded-write: ", "HINT:  "],
        succeeds: false,
        truth: (DRAFTS, "5000"),
        proves: "refused before Postgres saw it; all 5000 rows are there",
    },
    Step {
        title: "It tries a WHERE that restricts nothing, and goes on in the same session",
        user: User::App,
        tier: Tier::Prod,
        reason: None,
        sql: &["DELETE FROM email_drafts WHERE 1=1", "SELECT count(*) AS still_there FROM email_drafts"],
        shows: &["ERROR:  ", "rule unbounded-write: ", "1=1", "HINT:  ", "still_there", "5000"],
        succeeds: true,
        truth: (DRAFTS, "5000"),
        proves: "refused, and the session goes on as after any Postgres error",
    },
    Step {
        title: "It writes a WHERE that looks right and matches every row",
        user: User::App,
        tier: Tier::Prod,
        reason: None,
        sql: &["DELETE FROM email_drafts WHERE id > 0"],
        shows: &["ERROR:  ", "DETAIL:  ", "HINT:  "],
        succeeds: false,
        truth: (DRAFTS, "5000"),
        proves: "no reading of the SQL can tell; the row limit undid it",
    },
    Step {
        title: "The same DELETE on int, where mistakes are cheap",
        user: User::Alice,
        tier: Tier::Int,
        reason: None,
        sql: &["DELETE FROM email_drafts"],
        shows: &["unbounded-write", "DELETE 5000"],
        succeeds: true,
        truth: (DRAFTS, "0"),
        proves: "the tier decides: here it is only a warning",
    },
];

/// What must stand in the audit trail afterwards: event, rule or text, and how many lines at least.
const RECORDED: &[(&str, &str, usize)] = &[
    ("session.start", "alice", 4),
    ("deny", "reason-required", 1),
    ("result", "INC-42", 1),
    ("statement", "WHERE id = 42", 1),
    ("result", "WHERE id = 42", 1),
    ("deny", "unbounded-write", 2),
    ("limit", "WHERE id > 0", 1),
];

/// How long the last records may take to be written.
const AUDIT_TIME: Duration = Duration::from_secs(5);

/// Takes every step; an error at the first that does not do what it says.
pub(super) fn lead(screen: &mut Screen, site: &Site, interrupt: &Interrupt) -> Result<(), DemoError> {
    let version = site.postgres_version();
    screen.line(&format!("Postgres {version} behind the proxy, as app:int, app:stg and app:prod."))?;
    for (number, step) in (1..).zip(STEPS) {
        interrupt.check()?;
        screen.title(&format!("{number}. {}", step.title))?;
        take(screen, site, step)?;
    }
    interrupt.check()?;
    audit(screen, site)?;
    let steps = STEPS.len() + 2;
    screen.title(&format!("All {steps} steps did what they say."))
}

fn take(screen: &mut Screen, site: &Site, step: &Step) -> Result<(), DemoError> {
    screen.command(&shown(site, step))?;
    let mut psql = site.psql(step.user, step.tier);
    if let Some(reason) = step.reason {
        psql.env("PGOPTIONS", options(reason));
    }
    for sql in step.sql {
        psql.arg("-c").arg(sql);
    }
    let seen = watch(psql)?;
    screen.output(&seen.text)?;
    let truth = site.ask_directly(step.tier, step.truth.0)?;
    judge(step, &seen, &truth).map_err(|why| DemoError::Wrong { why, log: site.proxy_log() })?;
    screen.ok(step.proves)
}

fn judge(step: &Step, seen: &Seen, truth: &str) -> Result<(), String> {
    if let Some(missing) = step.shows.iter().find(|text| !seen.text.contains(**text)) {
        return Err(format!("psql should have shown {missing:?}"));
    }
    if seen.success != step.succeeds {
        let (is, should) = if seen.success { ("well", "with an error") } else { ("with an error", "well") };
        return Err(format!("psql ended {is}, and should have ended {should}"));
    }
    let (query, expected) = step.truth;
    if truth != expected {
        return Err(format!("the database answers {truth:?} to {query}, and should answer {expected:?}"));
    }
    Ok(())
}

fn options(reason: &str) -> String {
    format!("-c pgbelay.reason={reason}")
}

/// The command as a person would type it.
fn shown(site: &Site, step: &Step) -> String {
    let options = step.reason.map(|reason| format!("PGOPTIONS='{}' ", options(reason))).unwrap_or_default();
    let mut text = format!("{options}psql {}", site.url(step.user, step.tier, false));
    for sql in step.sql {
        // In a shell's double quotes nothing of ours means anything but the backslash of \d, which stays before a letter.
        text.push_str(&format!(" -c \"{sql}\""));
    }
    text
}

fn audit(screen: &mut Screen, site: &Site) -> Result<(), DemoError> {
    let file = site.audit_file();
    let wrong = |why| DemoError::Wrong { why, log: site.proxy_log() };
    wait_for_records(&file).map_err(wrong)?;

    screen.title(&format!("{}. Who did what, and what was decided", STEPS.len() + 1))?;
    let tail = audit_program(&["tail", "-n", "100"], &file)?;
    screen.command(&format!("pgbelay audit tail -n 100 {}", file.display()))?;
    screen.output(&tail.text)?;
    if !tail.success || !tail.text.contains("unbounded-write") {
        return Err(wrong("the audit trail should be shown, with the refusals".to_owned()));
    }
    screen.ok("every session, statement and decision is recorded")?;

    screen.title(&format!("{}. Nobody can change that record unnoticed", STEPS.len() + 2))?;
    let whole = audit_program(&["verify"], &file)?;
    screen.command(&format!("pgbelay audit verify {}", file.display()))?;
    screen.output(&whole.text)?;
    if !whole.success {
        return Err(wrong("the audit chain should be whole".to_owned()));
    }
    let forged = file.with_file_name("forged.jsonl");
    let text = fs::read_to_string(&file).map_err(DemoError::file("read", &file))?;
    fs::write(&forged, text.replacen("WHERE 1=1", "WHERE 1=2", 1)).map_err(DemoError::file("write", &forged))?;
    let found = audit_program(&["verify"], &forged)?;
    screen.command(&format!("sed '0,/WHERE 1=1/s//WHERE 1=2/' {} > forged.jsonl", file.display()))?;
    screen.command("pgbelay audit verify forged.jsonl")?;
    screen.output(&found.text)?;
    if found.success {
        return Err(wrong("a changed character in the audit trail should be found".to_owned()));
    }
    screen.ok("the chain is whole, and one changed character in a copy is found")
}

fn audit_program(command: &[&str], file: &Path) -> Result<Seen, DemoError> {
    let mut audit = Command::new(own_program()?);
    audit.arg("audit").args(command).arg(file);
    watch(audit)
}

/// Waits until everything of [`RECORDED`] is in the file: a record may be written after its client has its answer.
fn wait_for_records(file: &Path) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let missing = fs::read_to_string(file).map_err(|e| e.to_string()).and_then(|text| recorded(&text));
        match missing {
            Err(_) if begin.elapsed() < AUDIT_TIME => thread::sleep(Duration::from_millis(20)),
            result => return result,
        }
    }
}

fn recorded(trail: &str) -> Result<(), String> {
    for (event, text, least) in RECORDED {
        let marker = format!("\"event\":\"{event}\"");
        let lines = trail.lines().filter(|line| line.contains(&marker) && line.contains(text)).count();
        if lines < *least {
            return Err(format!("the audit trail has {lines} records {event} of {text:?}, and should have {least}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step {
        title: "",
        user: User::App,
        tier: Tier::Prod,
        reason: None,
        sql: &["DELETE FROM t"],
        shows: &["ERROR:  ", "HINT:  "],
        succeeds: false,
        truth: ("SELECT 1", "1"),
        proves: "",
    };

    fn seen(text: &str, success: bool) -> Seen {
        Seen { text: text.to_owned(), success }
    }

    #[test]
    fn a_step_that_does_not_do_what_it_says_is_wrong() {
        let refused = "ERROR:  no\nHINT:  do this";
        assert_eq!(judge(&STEP, &seen(refused, false), "1"), Ok(()));
        assert!(judge(&STEP, &seen("ERROR:  no", false), "1").unwrap_err().contains("HINT"));
        assert!(judge(&STEP, &seen(refused, true), "1").unwrap_err().contains("ended well"));
        assert!(judge(&STEP, &seen(refused, false), "0").unwrap_err().contains("the database answers \"0\""));
    }

    #[test]
    fn missing_records_are_noticed() {
        let line = |event: &str, text: &str| format!("{{\"event\":\"{event}\",\"sql\":\"{text}\"}}\n");
        let mut trail: String = RECORDED.iter().map(|(event, text, least)| line(event, text).repeat(*least)).collect();
        assert_eq!(recorded(&trail), Ok(()));
        trail = trail.replace("WHERE id > 0", "?");
        assert!(recorded(&trail).unwrap_err().contains("0 records limit"));
    }
}
