//! `pgbelay explain` as people and CI run it.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgbelay"))
        .arg("explain")
        .args(arguments)
        .env_remove("PGBELAY_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn rows(output: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_denied_statement_is_explained() {
    let output = explain(&["--tier", "prod", "--role", "service", "DELETE FROM email_drafts WHERE 1=1"], "");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "deny       DELETE FROM email_drafts WHERE 1=1\n",
        "DELETE without an effective WHERE is not allowed on prod\n",
        "rule unbounded-write: the predicate \"1=1\" is always true for email_drafts\n",
        "hint: Restrict the rows, for example WHERE id = ..., or try it on stg first.\n",
        "1 statement: 1 deny (service on prod)\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn it_is_told_that_a_plan_will_be_asked_for() {
    let told = |role: &str, sql: &str| {
        let output = explain(&["--tier", "prod", "--role", role, sql], "");
        let text = String::from_utf8(output.stdout).unwrap();
        text.contains("the server will be asked for its plan first: join_without_condition = deny\n")
    };
    assert!(told("engineer", "SELECT * FROM projects"));
    for sql in ["EXPLAIN SELECT * FROM projects", "SELECT 1", "SELECT relname FROM pg_class", "SHOW all"] {
        assert!(!told("engineer", sql), "{sql}");
    }
    assert!(!told("service", "SELECT * FROM projects"));
    let output = explain(&["--tier", "prod", "--role", "agent", "--json", "TABLE projects; SELECT 1"], "");
    assert_eq!(rows(&output)[0]["plan"], "join_without_condition = deny");
    assert!(rows(&output)[1]["plan"].is_null());
}

#[test]
fn json_has_a_line_a_statement_with_every_key() {
    let sql = "SELECT * FROM projects; UPDATE email_drafts SET status = 'x' WHERE id = 1; TRUNCATE email_drafts";
    let output = explain(&["--tier", "prod", "--role", "service", "--json", sql], "");
    assert_eq!(output.status.code(), Some(1));
    let rows = rows(&output);
    let verdicts: Vec<_> = rows.iter().map(|row| row["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["allow", "guarded", "deny"]);
    for key in
        ["sql", "kind", "class", "verdict", "rule", "message", "hint", "writes", "tables", "functions", "fingerprint"]
    {
        assert!(rows.iter().all(|row| row.get(key).is_some()), "{key}");
    }
    assert_eq!(rows[1]["sql"], "UPDATE email_drafts SET status = 'x' WHERE id = 1");
    assert_eq!(rows[1]["kind"], "UPDATE");
    assert_eq!(rows[1]["class"], "WRITE");
    assert_eq!(rows[1]["writes"][0]["verb"], "UPDATE");
    assert_eq!(rows[1]["writes"][0]["table"], "email_drafts");
    assert_eq!(rows[1]["writes"][0]["bound"], "bounded");
    assert_eq!(rows[1]["tables"], serde_json::json!(["email_drafts"]));
    assert_eq!(rows[2]["rule"], "truncate-drop");
    assert!(rows[0]["message"].is_null());
}

#[test]
fn an_argument_is_one_query_string_and_a_script_is_not() {
    let sql = "SELECT touch(1); COMMIT; SELECT touch(1)";
    let arguments = ["--tier", "prod", "--role", "engineer", "--json"];
    let together = explain(&[&arguments[..], &[sql]].concat(), "");
    assert_eq!(rows(&together)[1]["rule"], "read-only-escape");
    assert_eq!(explain(&arguments, sql).status.code(), Some(0));
}

#[test]
fn a_confirmation_is_no_denial() {
    let output = explain(&["--tier", "stg", "--role", "engineer", "--json", "TRUNCATE email_drafts"], "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(rows(&output)[0]["verdict"], "confirm");
}

#[test]
fn a_reason_counts_as_given_unless_told_otherwise() {
    let arguments = ["--tier", "prod", "--role", "engineer", "--json"];
    assert_eq!(explain(&arguments, "SELECT * FROM projects").status.code(), Some(0));
    let without = explain(&[&arguments[..], &["--no-reason"]].concat(), "SELECT * FROM projects");
    assert_eq!(without.status.code(), Some(1));
    assert_eq!(rows(&without)[0]["rule"], "reason-required");
}

#[test]
fn scripts_of_psql_and_pg_dump_are_read() {
    let script = "\\restrict abc\nSET statement_timeout = 0;\nCREATE TABLE t (a text);\nCOPY t (a) FROM stdin;\n\
                  DROP TABLE t;\n\\.\n\n-- done\nCREATE INDEX ON t (a);\n\\unrestrict abc\n\\i more.sql\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let path = file.path().to_str().unwrap();
    let output = explain(&["--tier", "prod", "--role", "migrator", "--json", "-f", path], "");
    let kinds: Vec<_> = rows(&output).iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["SET", "CREATE TABLE", "COPY", "CREATE INDEX"]);
    assert_eq!(output.status.code(), Some(0));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("\"\\i more.sql\" was not judged"), "{notes}");
}

#[test]
fn a_configuration_changes_the_policy_and_names_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgbelay.toml");
    let text = "[listen]\naddress = \"127.0.0.1:6432\"\n[audit]\npath = \"audit.jsonl\"\n[databases.shop]\n\
                default_tier = \"stg\"\nstg = { url = \"postgres://app@127.0.0.1/shop_stg\" }\n\
                prod = { url = \"postgres://app@127.0.0.1/shop\" }\n[users.worker]\nrole = \"service\"\n\
                password_env = \"NOT_SET\"\n[roles.service.prod]\ntruncate_drop = \"confirm\"\n";
    std::fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    let judged = |database: &str, sql: &str| {
        explain(&["--config", config, "--database", database, "--role", "service", "--json", sql], "")
    };
    let truncate = judged("shop:prod", "TRUNCATE email_drafts");
    assert_eq!(truncate.status.code(), Some(0), "{truncate:?}");
    assert_eq!(rows(&truncate)[0]["verdict"], "confirm");
    let delete = judged("shop:prod", "DELETE FROM email_drafts");
    assert!(rows(&delete)[0]["hint"].as_str().unwrap().ends_with("try it on shop:stg first."));
    let unknown = judged("nothing", "SELECT 1");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no database \"nothing\""));
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["--role", "service", "SELECT 1"][..],
        &["--tier", "moon", "--role", "service", "SELECT 1"],
        &["--tier", "prod", "--role", "boss", "SELECT 1"],
        &["--database", "app:prod", "--role", "service", "SELECT 1"],
        &["--tier", "prod", "--role", "service", "-f", "/nonexistent.sql"],
    ] {
        assert_eq!(explain(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_a_rule_in_report_mode_would_refuse_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let config = "[audit]\npath = \"a\"\n[databases.app]\ndefault_tier = \"prod\"\n\
                  prod = { url = \"postgres://app@h/app\" }\n[users.svc]\nrole = \"service\"\npassword_env = \"X\"\n\
                  [tiers.prod.rules.unbounded-write]\nmode = \"report\"\n";
    std::fs::write(&path, config).unwrap();
    let config = ["--config", path.to_str().unwrap(), "--database", "app:prod", "--role", "service"];
    let sql = "DELETE FROM email_drafts";
    let output = explain(&[&config[..], &[sql]].concat(), "");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let told = "guarded    DELETE FROM email_drafts\n           would deny: DELETE without an effective WHERE is not \
                allowed on prod\n           rule unbounded-write: there is no WHERE";
    assert!(text.contains(told), "{text}");

    let output = explain(&[&config[..], &["--json", "DELETE FROM email_drafts; SELECT 1"]].concat(), "");
    let rows = rows(&output);
    assert_eq!(rows[0]["would_deny"][0]["rule"], "unbounded-write");
    assert_eq!(rows[0]["would_deny"][0]["verdict"], "deny");
    assert!(rows[1].get("would_deny").is_none());
}

#[test]
fn json_lines_are_query_strings_each() {
    let input =
        "\"SELECT touch(1), lower('A'), nextval('s'); COMMIT\"\n\n{\"id\": 7, \"sql\": \"SELECT 1\\n\"}\n\";\"\n";
    let arguments = ["--tier", "prod", "--role", "engineer", "--json-lines"];
    let output = explain(&arguments, input);
    assert_eq!(output.status.code(), Some(1));
    let rows = rows(&output);
    assert_eq!(rows.iter().map(|row| row["line"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(rows[0]["statements"][0]["rule"], "read-only-tier");
    assert_eq!(
        rows[0]["statements"][0]["functions"],
        serde_json::json!([{ "name": "nextval", "is": "sequence" }, { "name": "touch", "is": "opaque" }])
    );
    assert_eq!(rows[0]["statements"][1]["rule"], "read-only-escape");
    assert_eq!(rows[1]["statements"][0]["verdict"], "read_only");
    assert_eq!(rows[2]["statements"], serde_json::json!([]));

    for input in ["SELECT 1", "7", "{\"query\": \"SELECT 1\"}"] {
        let output = explain(&arguments, input);
        assert_eq!(output.status.code(), Some(2), "{input}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("line 1 "), "{input}");
    }
}
