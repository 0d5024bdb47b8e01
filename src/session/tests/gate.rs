//! Plans and confirmations: what is asked of the server before a statement runs, and what becomes of it.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::{Play, one_byte, query};
use crate::audit::Event;
use crate::config::{Action, Policy, Role, Tier, default_policy};
use crate::guard::Judge;
use crate::upstream::empty_catalog;
use crate::wire::{
    Report, TransactionState, error_field, put_bind_head, put_command_complete, put_execute, put_parse, put_ready,
    put_text_row,
};

const EXPLAIN: &str = "EXPLAIN (FORMAT JSON, VERBOSE) ";

fn limited() -> Policy {
    Policy { max_estimated_cost: Some(1000), ..default_policy(Role::Agent, Tier::Prod) }
}

/// The answer to EXPLAIN up to its last CloseComplete.
fn plan(rows: u64, cost: u64) -> impl Fn(&mut BytesMut) {
    move |out| {
        for tag in *b"312" {
            one_byte(tag, out);
        }
        let json = format!(r#"[{{"Plan": {{"Node Type": "Seq Scan", "Total Cost": {cost}, "Plan Rows": {rows}}}}}]"#);
        put_text_row(&[&json], out);
        put_command_complete("EXPLAIN", out);
        one_byte(b'3', out);
        one_byte(b'3', out);
    }
}

/// The same in a simple query.
fn plan_ready(rows: u64, cost: u64, state: TransactionState) -> impl FnOnce(&mut BytesMut) {
    move |out| {
        plan(rows, cost)(out);
        put_ready(state, out);
    }
}

fn result(state: TransactionState) -> impl FnOnce(&mut BytesMut) {
    move |out| {
        put_text_row(&["1"], out);
        put_command_complete("SELECT 1", out);
        put_ready(state, out);
    }
}

/// Parse and Bind with one value as text, and Execute of at most `rows` rows.
fn bound(sql: &str, value: &str, rows: i32, out: &mut BytesMut) {
    put_parse("", sql.as_bytes(), &[0, 0], out);
    put_bind_head("", "", 2 + 2 + 4 + value.len() + 2, out);
    out.put_slice(&[0, 0, 0, 1]);
    out.put_i32(value.len().try_into().unwrap());
    out.put_slice(value.as_bytes());
    out.put_slice(&[0, 0]);
    execute(rows, out);
}

fn execute(rows: i32, out: &mut BytesMut) {
    put_execute("", out);
    let at = out.len() - 4;
    out[at..].copy_from_slice(&rows.to_be_bytes());
}

/// The token of the last refusal.
fn token(play: &mut Play) -> String {
    let out = play.core.out.split();
    let at = out.iter().position(|&byte| byte == b'E').unwrap();
    let hint = error_field(&out[at + 5..], b'H').unwrap();
    hint.split('\'').nth(1).unwrap().to_owned()
}

#[test]
fn a_plan_is_asked_for_and_its_statement_sent_behind_it() {
    let mut play = Play::with(limited());
    play.client(query("SELECT a FROM t"));
    assert_eq!(play.sent(), ["C", &format!("P NAME {EXPLAIN}SELECT a FROM t"), "B", "E", "C", "C", "S"]);
    assert!(!play.core.may_release());
    play.server(plan_ready(5, 1000, TransactionState::Idle));
    assert_eq!(play.sent(), ["Q SELECT a FROM t"]);
    play.server(result(TransactionState::Idle));
    assert_eq!(play.got(), "DCZ(I)");
    assert!(play.core.may_release() && play.link.is_clean());
    let record = play.core.records.pop().unwrap();
    assert_eq!((record.estimated_rows, record.estimated_cost), (Some(5), Some(1000.0)));
}

#[test]
fn a_plan_over_the_limit_is_refused_and_nothing_sent() {
    let mut play = Play::with(limited());
    play.client(query("SELECT a FROM t"));
    play.sent();
    play.server(plan_ready(5, 1001, TransactionState::Idle));
    assert_eq!(play.got(), "E(54000)Z(I)");
    assert_eq!(play.sent(), Vec::<String>::new());
    let records: Vec<_> = play.core.records.drain(..).map(|r| (r.event, r.rule)).collect();
    assert_eq!(records, [(Event::Deny, Some("estimated-cost"))], "one record, of the refusal");
}

#[test]
fn what_is_not_understood_of_a_plan_denies() {
    for answer in ["nonsense", "[]", ""] {
        let mut play = Play::with(limited());
        play.client(query("SELECT a FROM t"));
        play.server(|out| {
            for tag in *b"312" {
                one_byte(tag, out);
            }
            put_text_row(&[answer], out);
            put_command_complete("EXPLAIN", out);
            one_byte(b'3', out);
            one_byte(b'3', out);
            put_ready(TransactionState::Idle, out);
        });
        // An empty list is a statement without a plan.
        let expected = if answer == "[]" { "" } else { "E(54000)Z(I)" };
        assert_eq!(play.got(), expected, "{answer:?}");
    }
}

#[test]
fn a_plan_of_many_pieces_is_read_as_a_whole() {
    let mut play = Play::with(limited());
    play.client(query("SELECT a FROM t"));
    let mut answer = BytesMut::new();
    let padding = "x".repeat(300_000);
    for tag in *b"312" {
        one_byte(tag, &mut answer);
    }
    let json = format!(r#"[{{"Plan": {{"Output": ["{padding}"], "Total Cost": 1001, "Plan Rows": 1}}}}]"#);
    put_text_row(&[&json], &mut answer);
    put_command_complete("EXPLAIN", &mut answer);
    one_byte(b'3', &mut answer);
    one_byte(b'3', &mut answer);
    put_ready(TransactionState::Idle, &mut answer);
    for piece in answer.chunks(16 * 1024) {
        play.server(|out| out.extend_from_slice(piece));
    }
    assert_eq!(play.got(), "E(54000)Z(I)");
}

#[test]
fn in_a_block_the_refusal_fails_the_block_and_names_its_rule() {
    let mut play = Play::with(limited());
    play.client(query("BEGIN"));
    play.server(super::completed("BEGIN", TransactionState::InBlock));
    play.client(query("SELECT a FROM t"));
    play.sent();
    play.got();
    play.server(plan_ready(5, 1001, TransactionState::InBlock));
    let sent = play.sent();
    assert!(sent.len() == 1 && sent[0].contains("rule estimated-cost"), "{sent:?}");
    play.server(|out| {
        Report::error("42601", "syntax error").write(out);
        put_ready(TransactionState::Failed, out);
    });
    assert_eq!(play.got(), "E(54000)Z(E)");
}

#[test]
fn a_statement_that_cannot_be_planned_fails_with_the_servers_error() {
    let mut play = Play::with(limited());
    play.client(query("SELECT nope FROM t"));
    play.sent();
    play.server(|out| {
        one_byte(b'3', out);
        let mut fields = BytesMut::new();
        fields.put_slice(b"SERROR\0VERROR\0C42703\0Mno such column\0P");
        fields.put_slice(format!("{}\0\0", EXPLAIN.len() + 8).as_bytes());
        out.put_u8(b'E');
        out.put_i32(fields.len() as i32 + 4);
        out.put_slice(&fields);
        put_ready(TransactionState::Idle, out);
    });
    let position = error_field(&play.core.out[5..], b'P');
    assert_eq!((position.as_deref(), play.got().as_str()), (Some("8"), "E(42703)Z(I)"));
    assert_eq!(play.sent(), Vec::<String>::new());
}

#[test]
fn a_bind_waits_for_the_plan_of_its_own_parameters() {
    let mut play = Play::with(limited());
    play.client(|out| {
        bound("SELECT a FROM t WHERE id < $1", "77", 0, out);
        one_byte(b'S', out);
    });
    let outbox = play.link.outbox.clone();
    let explained = format!("P NAME {EXPLAIN}SELECT a FROM t WHERE id < $1");
    assert_eq!(play.sent(), ["P SELECT a FROM t WHERE id < $1", "C", &explained, "B", "E", "C", "C", "H"]);
    assert!(outbox.windows(6).any(|bytes| bytes == b"\0\0\0\x0277"), "with the client's value");
    play.server(|out| {
        one_byte(b'1', out);
        plan(5, 10)(out);
    });
    assert_eq!(play.sent(), ["B", "E", "S"]);
    play.server(|out| {
        one_byte(b'2', out);
        result(TransactionState::Idle)(out);
    });
    assert_eq!(play.got(), "12DCZ(I)");

    play.client(|out| {
        bound("SELECT a FROM t WHERE id < $1", "78", 0, out);
        one_byte(b'S', out);
    });
    play.sent();
    play.server(|out| {
        one_byte(b'1', out);
        plan(5, 1001)(out);
    });
    let sent = play.sent();
    assert!(sent[0].contains("rule estimated-cost") && sent[1] == "S", "{sent:?}");
    play.server(|out| {
        Report::error("42601", "syntax error").write(out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "1E(54000)Z(I)");
}

#[test]
fn the_policy_of_other_hours_judges_a_portal_again() {
    let tight = |cost| {
        Arc::new(Judge::new(
            Arc::new(Policy { max_estimated_cost: cost, ..limited() }),
            "app".to_owned(),
            empty_catalog(),
        ))
    };
    for (before, after, expected) in [
        (Some(1000), Some(100), "E(54000)"),
        (Some(1000), Some(500), ""),
        (None, Some(1000), "E(54000)"),
        (Some(1000), None, ""),
    ] {
        let mut play =
            Play::with(Policy { max_estimated_cost: before, join_without_condition: Action::Allow, ..limited() });
        play.client(|out| {
            bound("SELECT a FROM t WHERE id < $1", "77", 1, out);
            one_byte(b'H', out);
        });
        play.sent();
        play.server(|out| {
            one_byte(b'1', out);
            if before.is_some() {
                plan(5, 500)(out);
            }
        });
        play.server(|out| {
            one_byte(b'2', out);
            put_text_row(&["1"], out);
            one_byte(b's', out);
        });
        play.got();
        play.sent();
        // As when peak hours begin or the configuration is loaded again.
        play.core.judge = tight(after);
        play.client(|out| {
            execute(1, out);
            one_byte(b'S', out);
        });
        let sent = play.sent();
        let is_refused = sent[0].starts_with("P pgbelay refused");
        assert_eq!(is_refused, !expected.is_empty(), "{before:?} {after:?} {sent:?}");
        play.server(|out| {
            if is_refused {
                Report::error("42601", "syntax error").write(out);
            }
        });
        assert_eq!(play.got(), expected);
    }
}

#[test]
fn a_prepared_statement_is_judged_by_the_policy_of_the_hour() {
    let mut play = Play::service();
    play.client(|out| {
        put_parse("mine", b"TRUNCATE t", &[0, 0], out);
        one_byte(b'S', out);
    });
    assert_eq!(play.got(), "E(42501)Z(I)", "prod");

    let ordinary = Policy { ddl: Action::Allow, ..default_policy(Role::Service, Tier::Prod) };
    let mut play = Play::with(ordinary.clone());
    play.client(|out| {
        put_parse("mine", b"CREATE TABLE t (a int)", &[0, 0], out);
        one_byte(b'S', out);
    });
    play.server(|out| {
        one_byte(b'1', out);
        put_ready(TransactionState::Idle, out);
    });
    play.got();
    play.sent();
    let peak = Arc::new(Policy { ddl: Action::Deny, ..ordinary });
    play.core.judge = Arc::new(Judge::new(peak, "app".to_owned(), empty_catalog()));
    play.client(|out| {
        put_bind_head("", "mine", 6, out);
        out.extend_from_slice(&[0; 6]);
        put_execute("", out);
        one_byte(b'S', out);
    });
    assert_eq!(play.got(), "E(42501)Z(I)");
    assert_eq!(play.sent(), Vec::<String>::new());
}

#[test]
fn a_confirmation_is_asked_for_at_bind_and_holds_for_its_parameters() {
    let mut play = Play::with(Policy { unbounded_write: Action::Confirm, ..default_policy(Role::Service, Tier::Int) });
    let sql = "UPDATE t SET a = $1";
    let send = |play: &mut Play, value: &str| {
        play.client(|out| {
            bound(sql, value, 0, out);
            one_byte(b'S', out);
        });
        play.sent()
    };
    let explained = format!("P NAME {EXPLAIN}{sql}");
    assert_eq!(send(&mut play, "1"), [&format!("P {sql}"), "C", &explained, "B", "E", "C", "C", "H"]);
    let refuse = |play: &mut Play| {
        play.server(|out| {
            one_byte(b'1', out);
            plan(12_400, 5)(out);
        });
        play.sent();
        play.server(|out| Report::error("42601", "syntax error").write(out));
        let out = play.core.out.clone();
        let at = out.iter().position(|&byte| byte == b'E').unwrap();
        let detail = error_field(&out[at + 5..], b'D').unwrap();
        assert!(detail.ends_with("the plan expects about 12,400 rows"), "{detail}");
        let token = token(play);
        play.server(|out| put_ready(TransactionState::Idle, out));
        play.got();
        token
    };
    let first = refuse(&mut play);
    play.client(query(&format!("SET pgbelay.confirm = '{first}'")));
    play.got();
    assert!(send(&mut play, "2").contains(&explained), "other parameters are asked for again");
    let second = refuse(&mut play);
    play.client(query(&format!("SET pgbelay.confirm = '{second}'")));
    play.got();
    assert_eq!(send(&mut play, "2"), [&format!("P {sql}"), "B", "E", "S"]);
    play.server(|out| {
        one_byte(b'1', out);
        one_byte(b'2', out);
        put_command_complete("UPDATE 9", out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "12CZ(I)");
    assert!(send(&mut play, "2").contains(&explained), "once");
}

#[test]
fn what_waits_for_confirmation_is_not_sent_to_be_run() {
    let mut play = Play::new(Role::Engineer, Tier::Stg);
    play.client(query("TRUNCATE t"));
    let sent = play.sent();
    assert_eq!(sent[1], format!("P NAME {EXPLAIN}TABLE t"));
    play.server(plan_ready(7, 1, TransactionState::Idle));
    let token = token(&mut play);
    assert_eq!(play.sent(), Vec::<String>::new());
    play.client(query(&format!("SET pgbelay.confirm = '{token}'")));
    play.got();
    play.client(query("TRUNCATE t"));
    assert_eq!(play.sent(), ["Q TRUNCATE t"]);
}
