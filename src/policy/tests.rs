//! `decide` and `clamp` over facts made by hand: what must hold whatever `classify` makes of a text.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Access, Action, Mode, Policy, Role, RuleSetting, Tier, default_policy};
use crate::sql::{
    AccessMode, Boundedness, Call, Class, Effect, Facts, Hazard, Kind, Lock, Made, Mention, Name, Place, Scope, Script,
    SettingValue, Verb, Write,
};

/// Everything that Postgres does not bring is opaque, but `stable_one`.
#[derive(Debug)]
struct TestCatalog;

impl Catalog for TestCatalog {
    fn function(&self, _schema: Option<&str>, name: &str, arity: usize) -> FunctionNature {
        match name {
            "touch" => FunctionNature::Opaque,
            "lower" if arity == 2 => FunctionNature::Opaque,
            "stable_one" => FunctionNature::ReadOnly,
            "library_call" => FunctionNature::Unheld,
            "pg_of_tomorrow" => FunctionNature::Unjudged,
            _ => FunctionNature::BuiltIn,
        }
    }

    fn may_run(&self, mention: &Mention, is_only_planned: bool) -> bool {
        match mention.place {
            Place::Operator => *mention.name == *"###" && !is_only_planned,
            Place::Attribute | Place::Call | Place::Field => *mention.name == *"touch" && !is_only_planned,
            Place::Word => *mention.name == *"checked",
        }
    }

    fn view_may_run(&self, name: &Name, is_refreshed: bool) -> bool {
        if is_refreshed { name.name == "kept" } else { name.name == "seen" }
    }
}

fn view(reason: Option<&str>) -> SessionView<'_> {
    static NOTHING: BTreeSet<Made> = BTreeSet::new();
    SessionView {
        database: "app",
        reason,
        catalog: &TestCatalog,
        made: &NOTHING,
        tables: SessionTables::NONE,
        confirmation: Confirmation::NotGiven,
    }
}

fn name(text: &str) -> Name {
    Name { schema: None, name: text.to_owned() }
}

fn facts(kind: Kind, tag: &str) -> Facts {
    Facts {
        span: 0..0,
        kind,
        class: Class::Read,
        tag: tag.into(),
        writes: Vec::new(),
        reads: Vec::new(),
        functions: Vec::new(),
        mentions: Vec::new(),
        is_only_planned: false,
        makes: Vec::new(),
        effects: Vec::new(),
        locks: Vec::new(),
        hazards: Vec::new(),
        schema_changes: Vec::new(),
        normalized: String::new(),
        fingerprint: String::new(),
        redacted: None,
    }
}

fn write(kind: Kind, verb: Verb, bound: Boundedness) -> Facts {
    let write = Write { verb, table: name("email_drafts"), columns: Vec::new(), bound };
    Facts { writes: vec![write], ..facts(kind, verb.as_str()) }
}

fn select() -> Facts {
    Facts { reads: vec![name("projects")], ..facts(Kind::Select, "SELECT") }
}

fn calling(function: &str) -> Facts {
    let call = Call { name: name(function), arity: 0, literals: Vec::new(), sql_is_read: false };
    Facts { functions: vec![call], ..select() }
}

fn having(effect: Effect) -> Facts {
    Facts { effects: vec![effect], ..facts(Kind::Set, "SET") }
}

fn set(setting: &str, value: &str, by_function: bool) -> Effect {
    let value = SettingValue::Text(value.to_owned());
    Effect::Set { name: setting.to_owned(), value, scope: Scope::Session, by_function }
}

fn decided(policy: &Policy, statements: Vec<Facts>) -> Verdict {
    decide(&Arc::new(Script { statements, traceparent: None }), policy, &view(Some("INC-1")))
}

fn denied_by(policy: &Policy, statements: Vec<Facts>) -> Option<RuleId> {
    match decided(policy, statements) {
        Verdict::Deny(denial) => Some(denial.rule),
        Verdict::Allow(_) | Verdict::Confirm(_) => None,
    }
}

fn guards(policy: &Policy, statements: Vec<Facts>) -> Guards {
    match decided(policy, statements) {
        Verdict::Allow(permit) => permit.guards,
        other => panic!("{other:?}"),
    }
}

fn service() -> Policy {
    default_policy(Role::Service, Tier::Prod)
}

fn engineer() -> Policy {
    default_policy(Role::Engineer, Tier::Prod)
}

#[test]
fn the_message_reads_as_documented() {
    let all = write(Kind::Delete, Verb::Delete, Boundedness::Tautology("1=1".to_owned()));
    let Verdict::Deny(denial) = decided(&service(), vec![all]) else { panic!("allowed") };
    assert_eq!(denial.message, "DELETE without an effective WHERE is not allowed on prod");
    assert_eq!(denial.detail, "rule unbounded-write: the predicate \"1=1\" is always true for email_drafts");
    assert_eq!(denial.hint, "Restrict the rows, for example WHERE id = ..., or try it on app:stg first.");
    assert_eq!(denial.sqlstate, "42501");

    let missing = write(Kind::Delete, Verb::Delete, Boundedness::Missing);
    let Verdict::Deny(denial) = decided(&service(), vec![missing]) else { panic!("allowed") };
    assert_eq!(denial.detail, "rule unbounded-write: there is no WHERE, so every row of email_drafts would be deleted");
}

#[test]
fn no_less_careful_tier_is_named_where_there_is_none() {
    let policy = default_policy(Role::Engineer, Tier::Int);
    let Verdict::Allow(permit) = decided(&policy, vec![write(Kind::Delete, Verb::Delete, Boundedness::Missing)]) else {
        panic!("refused")
    };
    assert_eq!(permit.rule, "unbounded-write");
    assert_eq!(permit.notices.len(), 1);
    assert_eq!(permit.notices[0].message, "DELETE without an effective WHERE asks for care on int");
    assert_eq!(permit.notices[0].hint, "Restrict the rows, for example WHERE id = ...");
}

#[test]
fn the_worst_statement_wins_and_is_named() {
    let bounded = || write(Kind::Delete, Verb::Delete, Boundedness::Bounded);
    let missing = || write(Kind::Delete, Verb::Delete, Boundedness::Missing);
    let Verdict::Deny(denial) = decided(&service(), vec![select(), bounded(), missing()]) else { panic!("allowed") };
    assert_eq!(denial.statement, 2);

    let policy = default_policy(Role::Engineer, Tier::Stg);
    let truncate = || write(Kind::Truncate, Verb::Truncate, Boundedness::NotApplicable);
    let Verdict::Confirm(Pending { denial, .. }) = decided(&policy, vec![select(), truncate()]) else {
        panic!("not asked")
    };
    assert_eq!((denial.statement, denial.rule), (1, "truncate-drop"));
    assert!(denial.hint.contains("SET pgbelay.confirm = '{token}'"), "{}", denial.hint);
    let worse = decided(&policy, vec![truncate(), missing()]);
    assert!(matches!(worse, Verdict::Deny(Denial { statement: 1, .. })), "{worse:?}");
}

#[test]
fn reasons_are_asked_for_before_data_is_touched() {
    let policy = engineer();
    let judged = |reason, facts| {
        let script = Arc::new(Script { statements: vec![facts], traceparent: None });
        matches!(decide(&script, &policy, &view(reason)), Verdict::Deny(Denial { rule: "reason-required", .. }))
    };
    assert!(judged(None, select()));
    assert!(judged(Some("  "), select()));
    assert!(!judged(Some("INC-42"), select()));
    assert!(!judged(None, facts(Kind::Show, "SHOW")));
    assert!(!judged(None, having(set("application_name", "x", false))));
    let catalog =
        |schema: Option<&str>, table: &str| Name { schema: schema.map(str::to_owned), name: table.to_owned() };
    let reading = |table| Facts { reads: vec![table], ..select() };
    assert!(!judged(None, reading(catalog(Some("pg_catalog"), "pg_class"))));
    assert!(!judged(None, reading(catalog(None, "pg_class"))));
    assert!(judged(None, reading(catalog(Some("public"), "pg_class"))));
    assert!(judged(None, Facts { reads: Vec::new(), ..calling("touch") }), "what it reads is not known");
}

#[test]
fn read_only_sessions_are_read_only_on_the_server_whatever_they_send() {
    let policy = engineer();
    assert!(guards(&policy, vec![select()]).read_only);
    assert!(guards(&policy, vec![]).read_only);
    assert_eq!(guards(&policy, vec![select()]).verdict_name(), "read_only");
    assert_eq!(guards(&policy, vec![select()]).max_rows_returned, policy.max_rows_returned);
    let call = guards(&policy, vec![calling("touch")]);
    assert!(call.opaque && call.read_only);
}

#[test]
fn read_only_sessions_change_nothing() {
    let policy = engineer();
    let bounded = write(Kind::Delete, Verb::Delete, Boundedness::Bounded);
    assert_eq!(denied_by(&policy, vec![bounded]), Some("read-only-tier"));
    for (kind, tag) in [
        (Kind::Ddl, "CREATE TABLE"),
        (Kind::CreateTableAs, "SELECT INTO"),
        (Kind::TempDdl, "CREATE TABLE"),
        (Kind::Role, "GRANT"),
        (Kind::Cluster, "ALTER SYSTEM"),
        (Kind::Maintenance, "VACUUM"),
        (Kind::Notify, "NOTIFY"),
        (Kind::Call, "CALL"),
        (Kind::Do, "DO"),
        (Kind::TwoPhase, "COMMIT PREPARED"),
        (Kind::Load, "LOAD"),
    ] {
        assert_eq!(denied_by(&policy, vec![facts(kind, tag)]), Some("read-only-tier"), "{tag}");
    }
    let locking = |lock| Facts { locks: vec![lock], ..select() };
    assert_eq!(denied_by(&policy, vec![locking(Lock::Rows)]), Some("read-only-tier"));
    assert_eq!(denied_by(&policy, vec![locking(Lock::Table("ROW SHARE".to_owned()))]), Some("read-only-tier"));
    assert_eq!(denied_by(&policy, vec![locking(Lock::Table("ACCESS SHARE".to_owned()))]), None);
    let Verdict::Deny(denial) = decided(&policy, vec![facts(Kind::Ddl, "CREATE TABLE")]) else { panic!("allowed") };
    assert_eq!(denial.sqlstate, "25006");
}

#[test]
fn read_only_sessions_cannot_be_left() {
    let policy = engineer();
    let escape = Some("read-only-escape");
    let read_write = Some(AccessMode::ReadWrite);
    for effect in [
        Effect::Begin(read_write),
        Effect::SetTransaction(read_write),
        Effect::SetSessionCharacteristics(read_write),
        set("default_transaction_read_only", "off", false),
        set("transaction_read_only", "0", true),
        set("default_transaction_read_only", "o", false),
        Effect::Reset("default_transaction_read_only".to_owned()),
    ] {
        assert_eq!(denied_by(&policy, vec![having(effect.clone())]), escape, "{effect:?}");
        assert_eq!(denied_by(&service(), vec![having(effect.clone())]), None, "{effect:?}");
    }
    assert_eq!(denied_by(&policy, vec![having(set("default_transaction_read_only", "on", false))]), None);
    assert_eq!(denied_by(&policy, vec![having(Effect::Begin(Some(AccessMode::ReadOnly)))]), None);
    assert_eq!(denied_by(&policy, vec![having(Effect::SetUnknown)]), Some("unknown-setting"));

    assert_eq!(denied_by(&policy, vec![having(Effect::ResetAll)]), None);
    assert_eq!(denied_by(&policy, vec![having(Effect::ResetAll), select()]), None);
    let commit = || having(Effect::Commit { chain: false });
    assert_eq!(denied_by(&policy, vec![select(), commit(), select()]), None);
    assert_eq!(denied_by(&policy, vec![calling("touch"), commit(), calling("touch")]), escape);
}

#[test]
fn what_is_not_understood_runs_alone_and_read_only_or_not_at_all() {
    let maybe_read = || facts(Kind::UnparsedMaybeRead, "SELECT");
    let permit = guards(&service(), vec![maybe_read()]);
    assert!(permit.single_statement && permit.read_only && permit.opaque);
    assert_eq!(denied_by(&service(), vec![select(), maybe_read()]), Some("unparsed-read"));
    let hidden = Facts { hazards: vec![Hazard::UnicodeIdentifier], ..maybe_read() };
    assert_eq!(denied_by(&service(), vec![hidden]), Some("unparsed-read"));
    let dangerous = Facts { kind: Kind::UnparsedMaybeRead, ..calling("set_config") };
    assert_eq!(denied_by(&service(), vec![dangerous]), Some("unparsed-read"));
    let maybe_write = || facts(Kind::UnparsedMaybeWrite, "");
    for (role, tier) in [(Role::Service, Tier::Prod), (Role::Engineer, Tier::Stg), (Role::Auditor, Tier::Int)] {
        assert_eq!(
            denied_by(&default_policy(role, tier), vec![maybe_write()]),
            Some("unparsed-write"),
            "{role} {tier}"
        );
    }
    let int = guards(&default_policy(Role::Engineer, Tier::Int), vec![maybe_write()]);
    assert!(int.opaque && !int.read_only && !int.single_statement);
}

#[test]
fn writes_are_guarded_and_announced() {
    let bounded = || write(Kind::Delete, Verb::Delete, Boundedness::Bounded);
    let permit = guards(&service(), vec![bounded()]);
    assert_eq!(permit.max_rows_written, Some(1_000));
    assert!(permit.intent && !permit.read_only);
    assert_eq!(permit.verdict_name(), "guarded");
    assert!(!guards(&service(), vec![select()]).intent);
    assert!(guards(&service(), vec![select(), bounded()]).intent);
    assert!(guards(&service(), vec![calling("touch")]).intent);
    let int = guards(&default_policy(Role::Engineer, Tier::Int), vec![bounded()]);
    assert!(!int.intent && int.max_rows_written.is_none());
}

#[test]
fn what_execute_runs_is_held_to_the_limit_as_a_write() {
    let execute = || Facts { effects: vec![Effect::Execute("p".to_owned())], ..facts(Kind::Execute, "EXECUTE") };
    let permit = guards(&service(), vec![execute()]);
    assert_eq!(permit.max_rows_written, Some(1_000));
    assert!(permit.intent && permit.opaque);
    assert_eq!(guards(&engineer(), vec![execute()]).max_rows_written, None, "READ ONLY on the server");
    assert_eq!(guards(&default_policy(Role::Service, Tier::Int), vec![execute()]).max_rows_written, None);
    let prepare = || Facts { effects: vec![Effect::Prepare("p".to_owned())], ..facts(Kind::Prepare, "PREPARE") };
    assert_eq!(guards(&service(), vec![prepare()]).max_rows_written, None, "it runs nothing yet");
}

#[test]
fn writes_that_cannot_be_counted_run_only_where_no_limit_is_set() {
    let mut policy = default_policy(Role::Service, Tier::Int);
    let explain = || Facts { tag: "EXPLAIN".into(), ..write(Kind::Explain, Verb::Delete, Boundedness::Bounded) };
    let copy = || write(Kind::CopyTo, Verb::Insert, Boundedness::NotApplicable);
    let table = |kind| Facts { tag: "CREATE TABLE AS".into(), ..write(kind, Verb::Delete, Boundedness::Bounded) };
    let uncountable = || [explain(), copy(), table(Kind::CreateTableAs), table(Kind::TempDdl)];
    for statement in uncountable() {
        assert_eq!(denied_by(&policy, vec![statement.clone()]), None, "{statement:?}");
    }
    policy.max_rows_written = Some(5);
    for statement in uncountable() {
        assert_eq!(denied_by(&policy, vec![statement.clone()]), Some("uncountable-write"), "{statement:?}");
    }
    for kind in [Kind::Select, Kind::Insert, Kind::Update, Kind::Delete, Kind::Merge, Kind::CopyFrom, Kind::Prepare] {
        assert_eq!(denied_by(&policy, vec![write(kind, Verb::Delete, Boundedness::Bounded)]), None, "{kind:?}");
    }
    assert_eq!(denied_by(&policy, vec![facts(Kind::Explain, "EXPLAIN"), facts(Kind::CopyTo, "COPY")]), None);
}

#[test]
fn opaque_functions_follow_the_policy() {
    assert_eq!(denied_by(&default_policy(Role::Migrator, Tier::Prod), vec![calling("touch")]), Some("opaque-write"));
    assert_eq!(denied_by(&service(), vec![calling("touch")]), None);
    assert!(matches!(
        decided(&default_policy(Role::Engineer, Tier::Stg), vec![calling("touch")]),
        Verdict::Confirm(Pending { denial: Denial { rule: "opaque-write", .. }, .. })
    ));
    let migrator = default_policy(Role::Migrator, Tier::Prod);
    assert_eq!(denied_by(&migrator, vec![calling("stable_one")]), None);
}

#[test]
fn dangerous_functions_follow_the_policy_except_in_read_only_sessions() {
    let kill = || calling("pg_terminate_backend");
    assert_eq!(denied_by(&service(), vec![kill()]), Some("dangerous-function"));
    assert_eq!(denied_by(&default_policy(Role::Service, Tier::Int), vec![kill()]), None);
    let auditor = default_policy(Role::Auditor, Tier::Int);
    assert_eq!(denied_by(&auditor, vec![kill()]), Some("dangerous-function"));
    let to_file = Facts { hazards: vec![Hazard::ServerFile], ..facts(Kind::CopyTo, "COPY") };
    assert_eq!(denied_by(&auditor, vec![to_file]), Some("server-file"));
}

#[test]
fn schema_changes_follow_their_keys() {
    let migrator = default_policy(Role::Migrator, Tier::Prod);
    for (kind, tag, rule, migrator_too) in [
        (Kind::Ddl, "CREATE TABLE", "ddl", false),
        (Kind::CreateTableAs, "CREATE TABLE AS", "ddl", false),
        (Kind::Cluster, "CREATE EXTENSION", "ddl", false),
        (Kind::Role, "GRANT", "role-statement", false),
        (Kind::Maintenance, "VACUUM", "maintenance", false),
        (Kind::Drop, "DROP TABLE", "truncate-drop", true),
        (Kind::Cluster, "CREATE DATABASE", "cluster", true),
        (Kind::TwoPhase, "PREPARE TRANSACTION", "code-block", true),
    ] {
        assert_eq!(denied_by(&service(), vec![facts(kind, tag)]), Some(rule), "{tag}");
        assert_eq!(denied_by(&migrator, vec![facts(kind, tag)]).is_some(), migrator_too, "{tag}");
    }
    assert_eq!(denied_by(&service(), vec![facts(Kind::TempDdl, "CREATE TABLE")]), None);
}

#[test]
fn settings_that_matter_are_watched() {
    for (effect, rule) in [
        (set("standard_conforming_strings", "off", false), "text-trap-setting"),
        (set("client_encoding", "SJIS", false), "text-trap-setting"),
        (set("client_encoding", "gb-18030", true), "text-trap-setting"),
        (set("transform_null_equals", "on", false), "text-trap-setting"),
        (set("session_replication_role", "replica", false), "unsafe-setting"),
        (set("role", "postgres", true), "role-change"),
        (set("session_authorization", "postgres", false), "role-change"),
        (set("statement_timeout", "0", true), "limit-setting"),
        (set("pgbelay.raeson", "x", false), "proxy-setting"),
        (set("pgbelay.tier", "int", false), "proxy-setting"),
        (set("pgbelay.reason", "x", true), "proxy-setting"),
        (Effect::Show("pgbelay.nothing".to_owned()), "proxy-setting"),
        (Effect::SetUnknown, "unknown-setting"),
    ] {
        assert_eq!(denied_by(&service(), vec![having(effect.clone())]), Some(rule), "{effect:?}");
    }
    for effect in [
        set("standard_conforming_strings", "on", false),
        set("client_encoding", "LATIN1", false),
        set("session_replication_role", "origin", false),
        set("role", "none", false),
        Effect::Reset("role".to_owned()),
        Effect::Reset("session_authorization".to_owned()),
        set("statement_timeout", "0", false),
        set("statement_timeout", "5s", true),
        set("pgbelay.reason", "x", false),
        Effect::Show("pgbelay.limits".to_owned()),
        set("app.tenant", "acme", true),
    ] {
        assert_eq!(denied_by(&service(), vec![having(effect.clone())]), None, "{effect:?}");
    }
}

#[test]
fn people_take_no_session_level_advisory_locks_on_guarded_tiers() {
    let lock = || Facts { effects: vec![Effect::AdvisoryLock], ..select() };
    assert_eq!(denied_by(&engineer(), vec![lock()]), Some("advisory-lock"));
    assert_eq!(denied_by(&service(), vec![lock()]), None);
    assert_eq!(denied_by(&default_policy(Role::Engineer, Tier::Int), vec![lock()]), None);
}

#[test]
fn every_rule_can_be_switched_by_its_key() {
    let mut policy = default_policy(Role::Engineer, Tier::Prod);
    policy.access = Access::ReadWrite;
    policy.ddl = Action::Allow;
    policy.truncate_drop = Action::Warn;
    policy.unbounded_write = Action::Confirm;
    assert_eq!(denied_by(&policy, vec![facts(Kind::Ddl, "CREATE TABLE")]), None);
    let Verdict::Allow(permit) = decided(&policy, vec![facts(Kind::Drop, "DROP TABLE")]) else { panic!("refused") };
    assert_eq!(permit.notices[0].rule, "truncate-drop");
    let unbounded = write(Kind::Update, Verb::Update, Boundedness::Missing);
    assert!(matches!(decided(&policy, vec![unbounded]), Verdict::Confirm(_)));
}

#[test]
fn limits_may_be_lowered_and_not_raised() {
    let mut policy = engineer();
    policy.statement_timeout = Some(Duration::from_secs(120));
    policy.lock_timeout = None;
    let clamped = |name, value: &str| clamp(name, &SettingValue::Text(value.to_owned()), &policy);
    assert_eq!(clamped("statement_timeout", "5s"), Clamp::WithinLimit);
    assert_eq!(clamped("statement_timeout", "2min"), Clamp::WithinLimit);
    assert_eq!(clamped("lock_timeout", "0"), Clamp::WithinLimit, "the tier has no limit of its own");
    assert_eq!(clamped("work_mem", "0"), Clamp::NotALimit);
    for raising in ["0", "10h", "120001", "0.4", "nonsense", "-1"] {
        let Clamp::Clamped { value, notice: Some(notice) } = clamped("statement_timeout", raising) else {
            panic!("{raising}")
        };
        assert_eq!(value, "2min");
        assert_eq!(notice.message, "statement_timeout is held at 2min on prod");
    }
    let unknown = clamp("statement_timeout", &SettingValue::Unknown, &policy);
    assert!(matches!(unknown, Clamp::Clamped { notice: Some(_), .. }));
    let default = clamp("statement_timeout", &SettingValue::Default, &policy);
    assert_eq!(default, Clamp::Clamped { value: "2min".to_owned(), notice: None });
}

/// What `facts` of one call, mention or view are refused by, for the migrator on prod and for a read-only engineer there.
#[test]
fn hidden_code_is_opaque_and_read_only_does_not_hold_all_of_it() {
    let migrator = default_policy(Role::Migrator, Tier::Prod);
    let read_only = engineer();
    let calling = |function: &str, arity: usize| {
        let call = Call { name: name(function), arity, literals: vec![None; arity], sql_is_read: false };
        Facts { functions: vec![call], ..select() }
    };
    let mentioning = |place, text: &str| Facts { mentions: vec![Mention { place, name: text.into() }], ..select() };
    let planned = |facts: Facts| Facts { is_only_planned: true, ..facts };
    let reading = |view: &str| Facts { reads: vec![name(view)], ..select() };
    let opaque = Some("opaque-write");
    for (facts, on_migrator, on_reader) in [
        (calling("lower", 1), None, None),
        (calling("lower", 2), opaque, None),
        (calling("library_call", 0), opaque, Some("read-only-tier")),
        (calling("pg_of_tomorrow", 0), Some("dangerous-function"), Some("dangerous-function")),
        (mentioning(Place::Operator, "###"), opaque, None),
        (mentioning(Place::Operator, "+"), None, None),
        (mentioning(Place::Field, "touch"), opaque, None),
        (mentioning(Place::Word, "touch"), None, None),
        (planned(mentioning(Place::Call, "touch")), None, None),
        (planned(mentioning(Place::Word, "checked")), opaque, None),
        (reading("seen"), opaque, None),
        (reading("kept"), None, None),
        (
            Facts { reads: vec![name("kept")], ..facts(Kind::Ddl, "REFRESH MATERIALIZED VIEW") },
            opaque,
            Some("read-only-tier"),
        ),
    ] {
        assert_eq!(denied_by(&migrator, vec![facts.clone()]), on_migrator, "{facts:?}");
        assert_eq!(denied_by(&read_only, vec![facts.clone()]), on_reader, "{facts:?}");
    }
}

/// What a session has made counts for the statements behind it, in the same text as well, but not for its own.
#[test]
fn what_was_just_made_is_opaque() {
    let policy = default_policy(Role::Migrator, Tier::Prod);
    let call = |function: &str| Call { name: name(function), arity: 1, literals: vec![None], sql_is_read: false };
    let make = Facts {
        makes: vec![Made::Code("upper".into()), Made::OnTable("projects".into())],
        functions: vec![call("upper")],
        ..facts(Kind::Ddl, "CREATE FUNCTION")
    };
    let calls = |function: &str| Facts { functions: vec![call(function)], ..facts(Kind::Select, "SELECT") };
    assert_eq!(denied_by(&policy, vec![make.clone()]), None);
    assert_eq!(denied_by(&policy, vec![calls("upper"), make.clone()]), None);
    assert_eq!(denied_by(&policy, vec![make.clone(), calls("upper")]), Some("opaque-write"));
    assert_eq!(denied_by(&policy, vec![make.clone(), calls("length")]), None);
    assert_eq!(
        denied_by(&policy, vec![make, select()]),
        Some("opaque-write"),
        "projects has a trigger of the session's"
    );
}

#[test]
fn rule_ids_are_unique_and_have_a_summary() {
    let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    ids.push(DEFAULT_RULE);
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(RULES.iter().all(|rule| !rule.summary.is_empty() && rule.sqlstate.len() == 5));
}

fn reporting(mut policy: Policy, rules: &[RuleId]) -> Policy {
    for rule in rules {
        policy.rules.set(rule, RuleSetting { mode: Some(Mode::Report), action: None });
    }
    policy
}

fn permit(policy: &Policy, statements: Vec<Facts>) -> Permit {
    match decided(policy, statements) {
        Verdict::Allow(permit) => permit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_in_report_mode_refuses_nothing_and_says_what_it_would_have() {
    let all = || write(Kind::Delete, Verb::Delete, Boundedness::Missing);
    let policy = reporting(service(), &["unbounded-write"]);
    let permit = permit(&policy, vec![all(), all()]);
    assert_eq!(permit.would_deny.len(), 2);
    let entry = &permit.would_deny[0];
    assert_eq!((entry.rule, entry.verdict), ("unbounded-write", "deny"));
    assert_eq!(entry.detail, "there is no WHERE, so every row of email_drafts would be deleted");
    // What holds for every write holds for this one, too.
    assert_eq!(permit.guards.max_rows_written, Some(1_000));
    assert!(permit.guards.intent && permit.notices.is_empty());
    // Another rule is enforced as ever.
    let truncate = write(Kind::Truncate, Verb::Truncate, Boundedness::NotApplicable);
    assert_eq!(denied_by(&policy, vec![all(), truncate]), Some("truncate-drop"));
}

#[test]
fn what_would_be_confirmed_is_reported_as_such() {
    let policy = reporting(default_policy(Role::Engineer, Tier::Stg), &["truncate-drop"]);
    let permit = permit(&policy, vec![facts(Kind::Drop, "DROP TABLE")]);
    assert_eq!((permit.would_deny[0].rule, permit.would_deny[0].verdict), ("truncate-drop", "confirm"));
    assert!(!permit.would_deny[0].hint.contains("{token}"));
}

#[test]
fn a_reported_read_has_its_intent_on_disk_on_guarded_tiers_only() {
    let lock = || Facts { effects: vec![Effect::AdvisoryLock], ..select() };
    for (tier, intent) in [(Tier::Stg, true), (Tier::Int, false)] {
        let mut policy = reporting(default_policy(Role::Engineer, tier), &["advisory-lock"]);
        policy.dangerous = Action::Deny;
        let permit = permit(&policy, vec![lock()]);
        assert_eq!((permit.would_deny.len(), permit.guards.intent), (1, intent), "{tier}");
    }
}

#[test]
fn a_warning_in_report_mode_bothers_nobody() {
    let policy = reporting(default_policy(Role::Service, Tier::Int), &["unbounded-write"]);
    let permit = permit(&policy, vec![write(Kind::Delete, Verb::Delete, Boundedness::Missing)]);
    assert!(permit.notices.is_empty() && permit.would_deny.is_empty());
}

#[test]
fn rules_that_others_rest_on_are_enforced_whatever_is_said() {
    let every: Vec<RuleId> = tunings().map(|(rule, _)| rule).collect();
    for rule in RULES {
        let enforced = |policy: &Policy| rule.mode(&reporting(policy.clone(), &every)) == Mode::Enforce;
        match rule.tuning {
            Tuning::Fixed(_) => assert!(enforced(&service()) && enforced(&engineer()), "{}", rule.id),
            Tuning::KeyUnlessReadOnly(_) => assert!(!enforced(&service()) && enforced(&engineer()), "{}", rule.id),
            Tuning::Key(_) | Tuning::Action(_) | Tuning::With(_) => assert!(!enforced(&engineer()), "{}", rule.id),
        }
    }
    let escape = having(Effect::Begin(Some(AccessMode::ReadWrite)));
    assert_eq!(denied_by(&reporting(engineer(), &every), vec![escape]), Some("read-only-escape"));
    let program = Facts { hazards: vec![Hazard::ServerProgram], ..facts(Kind::CopyTo, "COPY") };
    assert_eq!(denied_by(&reporting(engineer(), &every), vec![program]), Some("server-program"));
}

#[test]
fn uncountable_writes_go_with_the_row_limit() {
    let explained = || Facts { tag: "EXPLAIN".into(), ..write(Kind::Delete, Verb::Delete, Boundedness::Bounded) };
    assert_eq!(denied_by(&service(), vec![explained()]), Some("uncountable-write"));
    let permit = permit(&reporting(service(), &[ROW_LIMIT]), vec![explained()]);
    assert_eq!(permit.would_deny[0].rule, "uncountable-write");
}
