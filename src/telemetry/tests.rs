use std::collections::{BTreeMap, BTreeSet};

use metrics::with_local_recorder;

use super::*;

/// Runs `work` with a recorder of its own and returns what /metrics would show.
fn rendered(work: impl FnOnce()) -> String {
    let recorder = builder().unwrap().build_recorder();
    let handle = recorder.handle();
    with_local_recorder(&recorder, || {
        describe();
        work();
    });
    handle.run_upkeep();
    handle.render()
}

/// Uses every method once.
fn use_everything() {
    let process = ProcessMetrics::new();
    process.connection_accepted();
    process.connection_refused("too_many_clients");
    process.auth_failure("password");
    process.protocol_error();
    process.audit_lag(Duration::from_millis(1500));
    process.audit_failures(3);
    process.audit_failures(5);
    process.config_reloaded();
    process.config_reload_failed();
    let tier = TierMetrics::new("app", Tier::Prod);
    tier.session_opened();
    tier.session_opened();
    tier.session_closed();
    tier.statement(Class::Write, "guarded");
    tier.statement(Class::Write, "deny");
    tier.statement(Class::Write, "deny");
    tier.statement_seconds(Duration::from_micros(700));
    tier.denied("unbounded-write");
    tier.would_deny("unbounded-write");
    tier.limit(Limit::RowsWritten);
    tier.checkout_wait(Duration::from_millis(3));
    tier.pool(PoolGauges { max: 50, open: 7, idle: 4, in_use: 3, waiting: 2 });
    tier.pinned("listen");
    tier.pinned("listen");
    tier.unpinned("listen");
    tier.upstream_error("connect");
    tier.host("db:5432", Some("primary"), 2);
    tier.replica_lag("db:5432", None);
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line `{line}` in:\n{text}");
}

#[test]
fn counts_what_it_is_told() {
    let text = rendered(use_everything);
    assert_line(&text, r#"pgbelay_sessions{database="app",tier="prod"} 1"#);
    assert_line(&text, r#"pgbelay_statements_total{database="app",tier="prod",class="WRITE",verdict="guarded"} 1"#);
    assert_line(&text, r#"pgbelay_statements_total{database="app",tier="prod",class="WRITE",verdict="deny"} 2"#);
    assert_line(&text, r#"pgbelay_statements_total{database="app",tier="prod",class="READ",verdict="deny"} 0"#);
    assert_line(&text, r#"pgbelay_statement_duration_seconds_bucket{database="app",tier="prod",le="0.0005"} 0"#);
    assert_line(&text, r#"pgbelay_statement_duration_seconds_bucket{database="app",tier="prod",le="0.001"} 1"#);
    assert_line(&text, r#"pgbelay_denials_total{database="app",tier="prod",rule="unbounded-write"} 1"#);
    assert_line(&text, r#"pgbelay_limits_hit_total{database="app",tier="prod",kind="rows_written"} 1"#);
    assert_line(&text, r#"pgbelay_pool_connections_max{database="app",tier="prod"} 50"#);
    assert_line(&text, r#"pgbelay_pool_connections_open{database="app",tier="prod"} 7"#);
    assert_line(&text, r#"pgbelay_pool_connections_idle{database="app",tier="prod"} 4"#);
    assert_line(&text, r#"pgbelay_pool_connections_in_use{database="app",tier="prod"} 3"#);
    assert_line(&text, r#"pgbelay_pool_clients_waiting{database="app",tier="prod"} 2"#);
    assert_line(&text, r#"pgbelay_sessions_pinned{database="app",tier="prod",reason="listen"} 1"#);
    assert_line(&text, r#"pgbelay_upstream_errors_total{database="app",tier="prod",kind="connect"} 1"#);
    assert_line(&text, r#"pgbelay_connections_refused_total{reason="too_many_clients"} 1"#);
    assert_line(&text, "pgbelay_audit_lag_seconds 1.5");
    assert_line(&text, "pgbelay_audit_failures_total 5");
    assert_line(&text, r#"pgbelay_config_reloads_total{outcome="failed"} 1"#);
}

#[test]
fn an_unknown_verdict_is_counted_under_its_own_name() {
    let text = rendered(|| TierMetrics::new("app", Tier::Int).statement(Class::Ddl, "four_eyes"));
    assert_line(&text, r#"pgbelay_statements_total{database="app",tier="int",class="DDL",verdict="four_eyes"} 1"#);
}

#[test]
fn every_verdict_of_a_permit_has_its_counter() {
    use crate::policy::Guards;
    for (read_only, max_rows_written) in [(false, None), (false, Some(1)), (true, None)] {
        let name = Guards { read_only, max_rows_written, ..Guards::default() }.verdict_name();
        assert!(VERDICTS.contains(&name), "{name}");
    }
}

#[test]
fn classes_are_numbered_as_they_are_listed() {
    for (index, class) in CLASSES.into_iter().enumerate() {
        assert_eq!(class_index(class), index);
    }
}

/// The series that are rendered, with their label names, are exactly those of the table.
#[test]
fn the_table_tells_all_names_and_labels() {
    let text = rendered(use_everything);
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (series, _value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let names = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('=').map(|(n, _)| n));
        seen.entry(base.to_owned()).or_default().extend(names.filter(|n| *n != "le").map(str::to_owned));
    }
    let table: BTreeMap<String, BTreeSet<String>> =
        METRICS.iter().map(|m| (m.name.to_owned(), m.labels.iter().map(|l| (*l).to_owned()).collect())).collect();
    assert_eq!(seen, table);
    for metric in METRICS {
        assert_line(&text, &format!("# HELP {} {}", metric.name, metric.help));
    }
}

#[test]
fn names_follow_prometheus() {
    for metric in METRICS {
        assert!(metric.name.starts_with("pgbelay_"), "{}", metric.name);
        match metric.kind {
            Kind::Counter => assert!(metric.name.ends_with("_total"), "{}", metric.name),
            Kind::Histogram => assert!(metric.name.ends_with("_seconds"), "{}", metric.name),
            Kind::Gauge => assert!(!metric.name.ends_with("_total"), "{}", metric.name),
        }
    }
}

/// docs/metrics.md has one row for every metric, with its type and labels, and none besides.
#[test]
fn the_reference_lists_every_metric() {
    let reference = include_str!("../../docs/metrics.md");
    let rows: Vec<&str> = reference.lines().filter(|l| l.starts_with("| `pgbelay_")).collect();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = metric.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
        let start = format!("| `{}` | {kind} | {labels} |", metric.name);
        assert!(rows.iter().any(|r| r.starts_with(&start)), "docs/metrics.md has no row that begins `{start}`");
    }
    assert_eq!(rows.len(), METRICS.len(), "docs/metrics.md lists a metric that does not exist");
    for limit in [
        Limit::RowsWritten,
        Limit::RowsReturned,
        Limit::BytesReturned,
        Limit::StatementTime,
        Limit::IdleInTransaction,
        Limit::SessionTime,
    ] {
        assert!(reference.contains(&format!("`{}`", limit.as_str())), "{limit:?}");
    }
}
