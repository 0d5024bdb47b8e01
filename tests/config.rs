//! The configuration as its users meet it: cases in tests/cases/config, the files that come with the product, the
//! reference, and the commands check, password and certs.
//!
//! A case begins with comments that say what is expected, all of it and in order:
//!
//! ```text
//! #: env NAME=value
//! #: error 12: databases.app.prod.url: the message
//! #: warning 3: listen.insecure: the message
//! ```
//!
//! Relative paths in a case are files that [`Files`] makes.

// The helpers of tests may fail as loudly as the tests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use proptest::prelude::*;

use pgbelay::config::{self, Access, Action, Config, Loaded, Problem, Role, SslMode, Tier};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pgbelay(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgbelay"))
        .args(args)
        .env_clear()
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Certificates, keys and passwords that the cases name, in a folder that is removed at the end.
struct Files(tempfile::TempDir);

impl Files {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for args in [&["certs", "certs"][..], &["certs", "certs", "--audit-key"], &["certs", "other"]] {
            let path = dir.path().join(args[1]);
            let output = pgbelay(&[&["certs", path.to_str().unwrap()], &args[2..]].concat(), b"");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        // Nothing of what a list holds is looked at before it is used.
        let crl = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        let texts = [
            ("password", "sesame\n"),
            ("empty", "\n"),
            ("two-lines", "a\nb\n"),
            ("not.pem", "hello\n"),
            ("crl.pem", crl),
        ];
        for (name, text) in texts {
            fs::write(dir.path().join(name), text).unwrap();
            set_mode(&dir.path().join(name), 0o600);
        }
        fs::write(dir.path().join("open-password"), "sesame").unwrap();
        set_mode(&dir.path().join("open-password"), 0o644);
        Files(dir)
    }

    fn parse(&self, text: &str, env: &BTreeMap<String, String>) -> Result<Loaded, config::ConfigErrors> {
        config::parse(text, &self.0.path().join("case.toml"), &|name| env.get(name).cloned())
    }

    /// A problem as a case writes it.
    fn show(&self, kind: &str, problem: &Problem) -> String {
        let dir = format!("{}/", self.0.path().display());
        let position = problem.line().map_or(String::new(), |line| format!(" {line}:"));
        let key = if problem.key.is_empty() { String::new() } else { format!(" {}:", problem.key) };
        format!("#: {kind}{position}{key} {}", problem.message.replace(&dir, ""))
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn cases(kind: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("tests/cases/config").join(kind);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn env_of(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("#: env "));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn expected(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("#: ") && !line.starts_with("#: env ")).collect()
}

#[test]
fn cases_give_exactly_the_problems_they_name() {
    let files = Files::make();
    let mut wrong = Vec::new();
    for kind in ["ok", "err"] {
        for (path, text) in cases(kind) {
            let actual: Vec<String> = match files.parse(&text, &env_of(&text)) {
                Ok(loaded) if kind == "ok" => loaded.warnings.iter().map(|w| files.show("warning", w)).collect(),
                Err(errors) if kind == "err" => errors.problems().iter().map(|e| files.show("error", e)).collect(),
                Ok(_) => vec!["accepted".to_owned()],
                Err(errors) => vec![format!("refused:\n{errors}")],
            };
            if actual != expected(&text) {
                wrong.push(format!(
                    "{}\nexpected\n{}\ngot\n{}",
                    path.display(),
                    expected(&text).join("\n"),
                    actual.join("\n")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn load_case(files: &Files, name: &str) -> Config {
    let text = fs::read_to_string(root().join("tests/cases/config/ok").join(name)).unwrap();
    files.parse(&text, &env_of(&text)).unwrap_or_else(|errors| panic!("{errors}")).config
}

#[test]
fn the_contracts_example_means_what_it_says() {
    let files = Files::make();
    let config = load_case(&files, "contract.toml");
    assert_eq!(config.listen.address, "127.0.0.1:6432".parse().unwrap());
    let tls = config.listen.tls.as_ref().unwrap();
    assert!(tls.required && tls.cert == files.0.path().join("certs/server.pem"));
    assert_eq!(config.admin.as_ref().unwrap().address, "127.0.0.1:9632".parse().unwrap());
    assert_eq!(config.audit.path, files.0.path().join("logs/audit.jsonl"));
    assert_eq!(config.audit.rotate_bytes, 256 << 20);

    let int = config.target("app").unwrap();
    assert_eq!((int.tier, int.password.as_ref().unwrap().expose()), (Tier::Int, "s3cret"));
    let prod = config.target("app_prod").unwrap();
    assert_eq!(prod, config.target("app:prod").unwrap());
    assert_eq!((prod.hosts[0].to_string().as_str(), prod.sslmode), ("db:5432", SslMode::VerifyFull));
    assert_eq!(prod.password.as_ref().unwrap().expose(), "sesame");

    let engineer = config.policy(Role::Engineer, Tier::Prod).unwrap();
    assert_eq!((engineer.max_rows_written, engineer.access), (Some(500), Access::ReadOnly));
    assert_eq!(engineer.reason, config::ReasonRule::Optional);
    assert_eq!(config.policy(Role::Admin, Tier::Prod).unwrap().reason, config::ReasonRule::Required);
    let service = config.policy(Role::Service, Tier::Prod).unwrap();
    assert_eq!((service.max_rows_written, service.access), (Some(500), Access::ReadWrite));
    assert_eq!((service.session_limit, service.reason), (None, config::ReasonRule::Optional));
}

#[test]
fn every_policy_key_can_be_set_for_a_role() {
    let files = Files::make();
    let config = load_case(&files, "every-key.toml");
    let set = config::policy_values(&config.policy(Role::Service, Tier::Prod).unwrap());
    let default = config::policy_values(&config::default_policy(Role::Service, Tier::Prod));
    for ((key, set), (_, default)) in set.iter().zip(&default) {
        assert_ne!(set, default, "[roles.service.prod] {key} has no effect");
    }
    let values: Vec<&str> = set.iter().map(|(_, value)| value.as_str()).collect();
    let expected = [
        "read-only",
        "warn",
        "confirm",
        "warn",
        "confirm",
        "confirm",
        "deny",
        "warn",
        "7",
        "8",
        "9MiB",
        "20000",
        "21",
        "confirm",
        "true",
        "10s",
        "11ms",
        "12m",
        "13h",
        "all",
        "true",
        "allow",
    ];
    assert_eq!(values, expected);
    let pool = config::pool_values(&config.pools[&Tier::Prod]).map(|(_, value)| value);
    assert_eq!(pool, ["1", "2", "3s", "4s", "5h"]);
}

#[test]
fn peak_hours_tighten_and_nothing_else() {
    let files = Files::make();
    let config = load_case(&files, "peak-hours.toml");
    let at = |time: &str| -> SystemTime { time.parse::<jiff::Timestamp>().unwrap().into() };
    // 2026-01-05 is a Monday; Berlin is an hour ahead of UTC.
    let policy = |role, tier, time: &str| config.policy(role, tier).unwrap().at(at(time));
    let changed = |role: Role, tier: Tier, time: &str| -> Vec<String> {
        let (ordinary, now) = (config.policy(role, tier).unwrap(), policy(role, tier, time));
        assert_eq!(now.is_of_peak_hours(), now != ordinary);
        let (ordinary, now) = (config::policy_values(&ordinary), config::policy_values(&now));
        now.into_iter()
            .zip(ordinary)
            .filter(|(n, o)| n != o)
            .map(|((key, value), _)| format!("{key} {value}"))
            .collect()
    };
    let peak = "2026-01-05T07:00:00Z";
    assert_eq!(
        changed(Role::Engineer, Tier::Prod, peak),
        ["access read-only", "max_rows_written 50", "max_estimated_cost 10000", "statement_timeout 10s"]
    );
    for outside in ["2026-01-05T06:59:59Z", "2026-01-05T17:00:00Z", "2026-01-04T01:00:00Z"] {
        assert_eq!(changed(Role::Engineer, Tier::Prod, outside), Vec::<String>::new(), "{outside}");
    }
    assert!(policy(Role::Engineer, Tier::Prod, "2026-01-04T00:59:59Z").is_of_peak_hours(), "Saturday night");
    assert_eq!(changed(Role::Agent, Tier::Prod, peak), ["max_rows_written 50", "statement_timeout 10s"]);
    assert_eq!(changed(Role::Service, Tier::Prod, peak), Vec::<String>::new(), "its own hours");
    assert_eq!(
        changed(Role::Service, Tier::Prod, "2026-01-04T12:30:00Z"),
        ["max_rows_written 50", "join_without_condition warn", "statement_timeout 10s"]
    );
    assert_eq!(changed(Role::Migrator, Tier::Stg, peak.replace("07", "08").as_str()), ["ddl confirm"]);
}

#[test]
fn a_tiers_override_reaches_the_roles_it_is_meant_for() {
    let files = Files::make();
    let config = load_case(&files, "tier-overrides.toml");
    let reached = |tier: Tier, key: &str, value: &str| -> Vec<&str> {
        let has = |role: &Role| {
            let values = config::policy_values(&config.policy(*role, tier).unwrap());
            values.iter().any(|(k, v)| *k == key && v == value)
        };
        Role::ALL.into_iter().filter(has).map(Role::as_str).collect()
    };
    let all = Role::ALL.map(Role::as_str);
    let people = ["admin", "auditor", "engineer"];
    for (key, value, roles) in [
        ("access", "read-write", &["admin", "engineer", "migrator", "service"][..]),
        ("unbounded_write", "confirm", &all),
        ("truncate_drop", "confirm", &all),
        ("ddl", "confirm", &["admin", "agent", "auditor", "engineer", "service"]),
        ("unsafe_ddl", "confirm", &all),
        ("dangerous", "confirm", &all),
        ("opaque_write", "confirm", &["admin", "agent", "auditor", "engineer", "migrator"]),
        ("code_block", "confirm", &all),
        ("max_rows_written", "1", &all),
        ("max_rows_returned", "2", &["admin", "agent", "auditor", "engineer"]),
        ("max_bytes_returned", "3MiB", &["admin", "agent", "auditor", "engineer"]),
        ("session_limit", "7m", &people),
        ("statement_timeout", "4s", &all),
        ("lock_timeout", "5m", &all),
        ("idle_in_transaction_timeout", "6s", &all),
        ("audit", "changes", &all),
        ("audit_parameters", "true", &all),
        ("on_audit_failure", "allow", &all),
    ] {
        assert_eq!(reached(Tier::Prod, key, value), roles, "[tiers.prod] {key}");
    }
    assert_eq!(reached(Tier::Stg, "reason", "true"), people);
    assert_eq!(reached(Tier::Stg, "audit", "all"), all, "audit = \"all\" of a tier leaves nobody out");
    assert_eq!(reached(Tier::Int, "access", "read-only"), ["admin", "agent", "auditor", "engineer"]);
}

#[test]
fn a_written_default_changes_nothing() {
    let text = fs::read_to_string(root().join("config/pgbelay.toml")).unwrap();
    let mut table = String::new();
    let mut written = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            table = line.to_owned();
        }
        // `audit` alone has no default by tier: writing it reaches the services too.
        let is_default = line.starts_with("# ") && line.contains(" = ") && !line.starts_with("# audit = ");
        let line = if table.starts_with("[tiers.") && is_default { &line[2..] } else { line };
        written.push_str(line);
        written.push('\n');
    }
    // The example at the end is no default.
    let written = written.split("# [roles.engineer.prod]").next().unwrap();
    assert!(written.matches("\nmax_rows_returned = ").count() == 3, "{written}");
    let Loaded { config, .. } = config::parse(written, Path::new("c.toml"), &|_| Some("x".into())).unwrap();
    for role in Role::ALL {
        for tier in Tier::ALL {
            assert_eq!(*config.policy(role, tier).unwrap(), config::default_policy(role, tier));
        }
    }
    assert!(config.pools.iter().all(|(tier, pool)| *pool == config::default_pool(*tier)));
}

#[test]
fn the_files_that_come_with_it_load_with_their_environment() {
    for name in ["pgbelay.toml", "docker.toml"] {
        let path = root().join("config").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let Loaded { config, warnings } =
            config::parse(&text, &path, &|name| Some(format!("secret of {name}"))).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(warnings, [], "{name}");
        assert_eq!(config.databases["app"].targets.len(), 3);
        let prod = config.target("app:prod").unwrap();
        assert_eq!(prod.password.as_ref().unwrap().expose(), "secret of APP_PROD_PASSWORD");
        assert_eq!(config.policy(Role::Engineer, Tier::Prod).unwrap().unbounded_write, Action::Deny);

        // Without the environment each missing variable is named.
        let errors = config::parse(&text, &path, &|_| None).unwrap_err();
        let variables = text.lines().filter(|l| !l.starts_with('#') && l.contains("password_env = ")).count();
        assert_eq!(errors.problems().len(), variables);
        assert!(errors.problems().iter().all(|e| e.message.contains("_PASSWORD is not set")), "{errors}");

        // And yet everything but the secrets can be read.
        let offline = config::load_without_secrets(&path).unwrap();
        assert_eq!(offline.policies, config.policies);
        assert_eq!(offline.target("app").unwrap().password, None);
        assert!(offline.users.values().all(|user| user.verifier.as_ref().unwrap().expose().is_empty()));
    }
}

/// The rows of the reference's tables, by the heading they stand under: each begins with a key in backquotes.
fn documented_keys() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let mut sections: Vec<&str> = Vec::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            sections = match line.trim_start_matches('#').trim() {
                heading if heading.starts_with("`[listen]`") => vec!["listen"],
                "`tls = { … }`" => vec!["listen.tls"],
                heading if heading.starts_with("`[admin]`") => vec!["admin"],
                heading if heading.starts_with("`[audit]`") => vec!["audit"],
                "`[databases.NAME]`" => vec!["databases.NAME"],
                heading if heading.starts_with("`[databases.NAME.TIER]`") => vec!["databases.NAME.TIER"],
                heading if heading.starts_with("`auth_query = { … }`") => vec!["databases.NAME.TIER.auth_query"],
                "`[users.NAME]`" => vec!["users.NAME"],
                heading if heading.starts_with("`[tiers.TIER]`") => vec!["tiers.TIER", "roles.ROLE.TIER"],
                heading if heading.starts_with("`pool = { … }`") => vec!["tiers.TIER.pool"],
                heading if heading.starts_with("`rules.RULE`") => {
                    vec!["tiers.TIER.rules.RULE", "roles.ROLE.TIER.rules.RULE"]
                }
                heading if heading.starts_with("`peak_hours = { … }`") => {
                    vec!["tiers.TIER.peak_hours", "roles.ROLE.TIER.peak_hours"]
                }
                _ => vec![],
            };
        }
        let first_cell = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        for section in &sections {
            keys.extend(first_cell.map(|key| format!("{section}.{key}")));
        }
    }
    keys
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let documented = documented_keys();
    let tables = [
        "listen",
        "admin",
        "audit",
        "databases",
        "users",
        "tiers",
        "roles",
        "listen.tls",
        "tiers.TIER.pool",
        "tiers.TIER.peak_hours",
        "roles.ROLE.TIER.peak_hours",
    ];
    let placeholders =
        ["databases.NAME", "databases.NAME.TIER", "users.NAME", "tiers.TIER", "roles.ROLE", "roles.ROLE.TIER"];
    let rules =
        ["tiers.TIER", "roles.ROLE.TIER"].map(|table| [format!("{table}.rules"), format!("{table}.rules.RULE")]);
    let known = config::known_keys();
    for key in &known {
        let is_table = tables.contains(&key.as_str())
            || placeholders.contains(&key.as_str())
            || rules.as_flattened().contains(key);
        assert!(is_table || documented.contains(key), "{key} is not in docs/configuration.md");
    }
    let roles = Role::ALL.map(|role| format!("users.NAME.{role}"));
    for key in &documented {
        let is_tier = key == "databases.NAME.int" || roles.contains(key);
        assert!(is_tier || known.contains(key), "docs/configuration.md names {key}, which is unknown");
    }
}

#[test]
fn the_reference_has_the_defaults_of_every_tier() {
    let text = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let row = |key: &str| {
        let start = format!("| `{key}` |");
        let line = text
            .lines()
            .rfind(|line| line.starts_with(&start) && line.split('|').count() == 8)
            .unwrap_or_else(|| panic!("{key}"));
        line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    // The reference writes whole minutes as seconds where people do.
    let same = |shown: &str, written: &str| {
        let spelt = [("1m", "60s"), ("2m", "120s"), ("3m", "180s"), ("5m", "300s"), ("10m", "600s")];
        shown == written || spelt.contains(&(shown, written))
    };
    for (i, tier) in Tier::ALL.into_iter().enumerate() {
        let policy = config::policy_values(&config::default_policy(Role::Engineer, tier));
        let pool = config::pool_values(&config::default_pool(tier));
        for (key, value) in policy.into_iter().chain(pool) {
            let written = &row(key)[3 + i];
            assert!(same(&value, written), "{key} on {tier}: {value}, documented as {written}");
        }
    }
}

#[test]
fn check_prints_all_errors_and_exits_1() {
    let output = pgbelay(&["check", "--config", "tests/cases/config/err/references.toml"], b"");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("tests/cases/config/err/references.toml:"), "{text}");
    let case = fs::read_to_string(root().join("tests/cases/config/err/references.toml")).unwrap();
    assert_eq!(text.lines().count(), expected(&case).len() + 1, "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(pgbelay(&["check", "--config", "no-such-file"], b"").status.code(), Some(1));
    assert_eq!(pgbelay(&["check", "--no-such-option"], b"").status.code(), Some(2));
}

#[test]
fn check_lists_the_rules_that_are_set_on_their_own() {
    let text = fs::read_to_string(root().join("tests/cases/config/ok/rules.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    fs::write(&path, text).unwrap();
    let output = pgbelay(&["check", "--config", path.to_str().unwrap()], b"");
    let shown = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = shown
        .split_once("Rules on prod that are set on their own\n")
        .unwrap_or_else(|| panic!("{shown}"))
        .1
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["rule", "admin", "agent", "auditor", "engineer", "migrator", "service"]);
    // Where READ ONLY on the server does not stop it, a read-only session is held to the rule.
    assert_eq!(rows[1], ["dangerous-function", "enforce", "enforce", "enforce", "enforce", "report", "report"]);
    assert_eq!(rows[2], ["row-limit", "report", "report", "report", "report", "report", "report"]);
    assert_eq!(rows[3], ["unbounded-write", "report", "report", "report", "enforce", "report", "report"]);
    assert!(!shown.contains("Rules on stg"), "{shown}");
}

#[test]
fn check_shows_the_policies_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let verifier = config::scram_verifier("pencil");
    fs::write(dir.path().join("password"), "s3same").unwrap();
    let text = format!(
        "[audit]\npath = \"a\"\n[databases.app]\ndefault_tier = \"prod\"\n\
         prod = {{ url = \"postgres://app@[::1]/app\", password_file = \"password\", name = \"app_prod\" }}\n\
         [users.alice]\nrole = \"engineer\"\npassword = \"{}\"\n",
        verifier.expose()
    );
    fs::write(&path, text).unwrap();
    let output = pgbelay(&["check", "--config", path.to_str().unwrap()], b"");
    let (shown, warnings) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{warnings}");
    for part in ["app:prod", "app, app_prod", "[::1]:5432 app", "alice", "Policy on prod (red)", "read-only"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    for secret in ["s3same", "SCRAM-SHA-256", verifier.expose()] {
        assert!(!shown.contains(secret) && !warnings.contains(secret), "{shown}{warnings}");
    }
    assert!(pgbelay(&["check", "-q", "--config", path.to_str().unwrap()], b"").stdout.is_empty());
}

#[test]
fn password_prints_a_verifier_that_the_configuration_takes() {
    let output = pgbelay(&["password"], b"pencil\n");
    assert!(output.status.success());
    let verifier = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty());
    let text = format!(
        "[audit]\npath = \"a\"\n[databases.app.int]\nurl = \"postgres://app@h/app\"\n\
         [users.alice]\nrole = \"engineer\"\npassword = \"{}\"\n",
        verifier.trim_end()
    );
    let loaded = config::parse(&text, Path::new("c.toml"), &|_| None).unwrap();
    assert_eq!(loaded.config.users["alice"].verifier.as_ref().unwrap().expose(), verifier.trim_end());

    let empty = pgbelay(&["password"], b"\n");
    assert!(empty.status.success() && String::from_utf8_lossy(&empty.stderr).contains("warning"));
    assert_eq!(pgbelay(&["password"], b"").status.code(), Some(1));
}

#[test]
fn certs_writes_private_keys_and_overwrites_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/certs");
    let dir = path.to_str().unwrap();
    let output = pgbelay(&["certs", dir, "--host", "db.example", "--client", "alice", "--client", "bob"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("tls = { cert = ") && shown.contains("sslmode=verify-full"), "{shown}");
    assert!(pgbelay(&["certs", dir, "--audit-key"], b"").status.success());

    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["ca", "server", "alice", "bob"] {
        assert_eq!((mode(&format!("{name}.pem")), mode(&format!("{name}-key.pem"))), (0o644, 0o600));
    }
    assert_eq!((mode("audit.key"), mode("audit.pub")), (0o600, 0o644));

    let before = fs::read(path.join("ca.pem")).unwrap();
    let refused = pgbelay(&["certs", dir, "--client", "carol"], b"");
    assert_eq!(refused.status.code(), Some(1));
    assert!(!path.join("carol.pem").exists() && fs::read(path.join("ca.pem")).unwrap() == before);
    assert!(pgbelay(&["certs", dir, "--force"], b"").status.success());
    assert!(fs::read(path.join("ca.pem")).unwrap() != before);
    for name in ["server", "../x", "", "a b"] {
        assert_eq!(pgbelay(&["certs", dir, "--client", name], b"").status.code(), Some(2), "{name}");
    }
}

#[test]
fn certificates_hold_in_a_handshake() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use std::sync::Arc;

    let files = Files::make();
    let path = |name: &str| files.0.path().join("certs").join(name);
    let chain = |name| vec![CertificateDer::from_pem_file(path(name)).unwrap()];
    let key = |name| PrivateKeyDer::from_pem_file(path(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain("ca.pem").remove(0)).unwrap();
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(chain("server.pem"), key("server-key.pem"))
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain("client.pem"), key("client-key.pem"))
        .unwrap();
    let (server, client) = (Arc::new(server), Arc::new(client));
    for (name, fits) in [("localhost", true), ("127.0.0.1", true), ("::1", true), ("db.example", false)] {
        let mut server = rustls::ServerConnection::new(server.clone()).unwrap();
        let name_of_server = ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(client.clone(), name_of_server).unwrap();
        let mut shake = || -> Result<bool, rustls::Error> {
            for _ in 0..10 {
                let mut bytes = Vec::new();
                client.write_tls(&mut bytes).unwrap();
                server.read_tls(&mut bytes.as_slice()).unwrap();
                server.process_new_packets()?;
                let mut bytes = Vec::new();
                server.write_tls(&mut bytes).unwrap();
                client.read_tls(&mut bytes.as_slice()).unwrap();
                client.process_new_packets()?;
            }
            Ok(!server.is_handshaking() && !client.is_handshaking() && server.peer_certificates().is_some())
        };
        assert_eq!(shake().unwrap_or(false), fits, "{name}");
    }
}

#[test]
fn the_audit_key_can_be_read_by_openssl_and_ring() {
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject;

    let files = Files::make();
    let der = PrivatePkcs8KeyDer::from_pem_file(files.0.path().join("certs/audit.key")).unwrap();
    // RFC 8410's first version: OpenSSL refuses the second as ring writes it.
    assert_eq!((der.secret_pkcs8_der().len(), &der.secret_pkcs8_der()[..5]), (48, &[0x30, 0x2e, 2, 1, 0][..]));
    let key = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).unwrap();
    let public = fs::read(files.0.path().join("certs/audit.pub")).unwrap();
    let public = rustls::pki_types::SubjectPublicKeyInfoDer::from_pem_slice(&public).unwrap();
    assert!(public.ends_with(ring::signature::KeyPair::public_key(&key).as_ref()));
}

#[test]
fn problems_count_lines_and_columns_from_1() {
    let text = "[listen]\r\naddress = \"é\"\r\ntls = { cert = \"é\", x = 1 }\r\n";
    let errors = config::parse(text, Path::new("c.toml"), &|_| None).unwrap_err();
    let places: Vec<_> =
        errors.problems().iter().filter_map(|e| Some((e.key.as_str(), e.line()?, e.column()?))).collect();
    let expected =
        [("listen.address", 2, 11), ("listen.tls.key", 3, 1), ("listen.tls.cert", 3, 16), ("listen.tls.x", 3, 21)];
    assert_eq!(places, expected, "{errors}");
    assert!(errors.to_string().contains("c.toml:2: listen.address: is not an address"), "{errors}");
}

proptest! {
    /// A damaged file gives errors with places in the file, or a configuration; never a panic.
    #[test]
    fn damaged_text_is_survived(at in 0..2000_usize, length in 0..40_usize, insert in "[\\[\\]{}=\"'.#,a-z0-9é\n ]{0,12}") {
        let text = fs::read_to_string(root().join("tests/cases/config/ok/every-key.toml")).unwrap();
        let characters: Vec<char> = text.chars().collect();
        let start = at.min(characters.len());
        let end = (start + length).min(characters.len());
        let damaged: String = characters[..start].iter().copied().chain(insert.chars()).chain(characters[end..].iter().copied()).collect();
        if let Err(errors) = config::parse(&damaged, Path::new("/no/such/folder/c.toml"), &|_| Some("x".to_owned())) {
            prop_assert!(!errors.problems().is_empty());
            let lines = damaged.matches('\n').count() + 1;
            prop_assert!(errors.problems().iter().all(|e| e.line().is_none_or(|line| (1..=lines).contains(&line))));
        }
    }
}
