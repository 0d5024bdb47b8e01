//! The state machine alone: bytes of a client and a server in, bytes for both out. No socket, no clock.

mod cancel;
mod gate;
mod lost;

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::BytesMut;

use super::core::{Core, Step};
use crate::audit::{Event, SessionContext};
use crate::config::{Policy, Role, Tier, default_policy};
use crate::guard::Judge;
use crate::upstream::{Applied, Link, Parameters, Statements, empty_catalog};
use crate::wire::{
    Report, TransactionState, error_field, frontend_header, put_bare, put_bind_head, put_command_complete, put_execute,
    put_parse, put_query, put_ready, put_target, put_text_row,
};

/// A client and a server, both played by the test.
struct Play {
    core: Core,
    link: Link,
    input: BytesMut,
}

impl Play {
    fn new(role: Role, tier: Tier) -> Self {
        Self::with(default_policy(role, tier))
    }

    fn with(policy: Policy) -> Self {
        let (role, tier) = (policy.role, policy.tier);
        let judge = Arc::new(Judge::new(Arc::new(policy), "app".to_owned(), empty_catalog()));
        let context = Arc::new(SessionContext {
            id: "1".to_owned(),
            user: "u".to_owned(),
            role: Some(role),
            database: "app".to_owned(),
            tier: Some(tier),
            client: None,
            application_name: None,
            tls: None,
            ..SessionContext::default()
        });
        let statements = Arc::new(Statements::new(NonZeroUsize::MIN.saturating_add(100)));
        let mut link = Link::new(Parameters::default());
        // As after a checkout: nothing has to be set.
        link.applied = Applied::Known(judge.forced.clone());
        let initial = judge.forced.clone();
        let core = Core::new(judge, context, statements, initial, Parameters::default(), Some("TEST-1".into()));
        Self { core, link, input: BytesMut::new() }
    }

    fn service() -> Self {
        Self::new(Role::Service, Tier::Prod)
    }

    /// The client sends; every intent that is asked for is recorded.
    fn client(&mut self, write: impl FnOnce(&mut BytesMut)) -> Step {
        write(&mut self.input);
        loop {
            match self.core.client(&mut self.input, Some(&mut self.link)) {
                Step::NeedIntent(_) => self.core.intent_recorded(Ok(())),
                step => return step,
            }
        }
    }

    fn server(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.link.inbox);
        self.core.upstream(&mut self.link).unwrap();
        self.client(|_| {});
    }

    /// What was sent to the server: types, and texts of Query and Parse.
    fn sent(&mut self) -> Vec<String> {
        let outbox = self.link.outbox.split();
        let mut rest = &outbox[..];
        let mut sent = vec![];
        while let Some(header) = frontend_header(rest).unwrap() {
            let body = &rest[5..header.size];
            let text = match header.tag {
                b'Q' => format!("Q {}", crate::wire::read_query(body).unwrap()),
                b'P' => {
                    let parse = crate::wire::ParseView::read(body).unwrap();
                    // The names' numbers are the process's.
                    let name = if parse.name.is_empty() { "" } else { "NAME " };
                    format!("P {name}{}", parse.sql)
                }
                tag => (tag as char).to_string(),
            };
            sent.push(text);
            rest = &rest[header.size..];
        }
        sent
    }

    /// What the client has got: types, with the SQLSTATE of errors and the status of ReadyForQuery.
    fn got(&mut self) -> String {
        let out = self.core.out.split();
        let mut rest = &out[..];
        let mut got = String::new();
        while let Some(header) = crate::wire::backend_header(rest).unwrap() {
            let body = &rest[5..header.size];
            match header.tag {
                b'E' => got.push_str(&format!("E({})", error_field(body, b'C').unwrap())),
                b'Z' => got.push_str(&format!("Z({})", body[0] as char)),
                tag => got.push(tag as char),
            }
            rest = &rest[header.size..];
        }
        got
    }
}

fn query(sql: &str) -> impl FnOnce(&mut BytesMut) {
    move |out| put_query(sql.as_bytes(), out)
}

fn extended(sql: &str, out: &mut BytesMut) {
    put_parse("", sql.as_bytes(), &[0, 0], out);
    put_bind_head("", "", 6, out);
    out.extend_from_slice(&[0; 6]);
    put_execute("", out);
}

fn one_byte(tag: u8, out: &mut BytesMut) {
    put_bare(tag, out);
}

fn completed(tag: &str, state: TransactionState) -> impl FnOnce(&mut BytesMut) {
    move |out| {
        put_command_complete(tag, out);
        put_ready(state, out);
    }
}

#[test]
fn a_query_goes_by_and_its_connection_is_free_again() {
    let mut play = Play::service();
    assert!(matches!(play.client(query("SELECT 1")), Step::NeedInput));
    assert_eq!(play.sent(), ["Q SELECT 1"]);
    assert!(!play.core.may_release());
    play.server(|out| {
        put_text_row(&["1"], out);
        put_command_complete("SELECT 1", out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "DCZ(I)");
    assert!(play.core.may_release() && play.link.is_clean());
}

#[test]
fn nothing_of_a_refused_statement_is_sent() {
    let mut play = Play::service();
    play.client(query("DELETE FROM t"));
    assert_eq!(play.sent(), Vec::<String>::new());
    assert_eq!(play.got(), "E(42501)Z(I)");
    assert_eq!(play.core.records[0].event, Event::Deny);
}

#[test]
fn a_refusal_in_a_block_fails_the_servers_block() {
    let mut play = Play::service();
    play.client(query("BEGIN"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    play.client(query("DELETE FROM t"));
    play.got();
    let sent = play.sent();
    assert!(sent[1].contains("rule unbounded-write") && !sent[1].contains("DELETE"), "{sent:?}");
    play.server(|out| {
        Report::error("42601", "syntax error").write(out);
        put_ready(TransactionState::Failed, out);
    });
    assert_eq!(play.got(), "E(42501)Z(E)", "the client hears of its own error alone");
}

#[test]
fn a_refusal_in_a_pipeline_comes_in_its_place() {
    let mut play = Play::service();
    play.client(|out| {
        extended("SELECT 1", out);
        extended("DELETE FROM t", out);
        extended("SELECT 2", out);
        one_byte(b'S', out);
    });
    let sent = play.sent();
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert_eq!((sent[0].as_str(), sent[4].as_str()), ("P SELECT 1", "S"));
    assert_eq!(play.got(), "");
    play.server(|out| {
        for tag in [b'1', b'2'] {
            one_byte(tag, out);
        }
        put_command_complete("SELECT 1", out);
        Report::error("42601", "syntax error").write(out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "12CE(42501)Z(I)");
    assert!(play.core.may_release());
}

#[test]
fn a_write_is_counted_before_it_is_committed() {
    let mut play = Play::service();
    play.client(query("UPDATE t SET a = 1 WHERE id > 5"));
    assert_eq!(play.sent(), ["Q BEGIN"]);
    play.server(completed("BEGIN", TransactionState::InBlock));
    assert_eq!(play.sent(), ["Q UPDATE t SET a = 1 WHERE id > 5"]);
    play.server(completed("UPDATE 1000", TransactionState::InBlock));
    assert_eq!(play.sent(), ["Q COMMIT"]);
    assert_eq!(play.got(), "", "success is told once it is certain");
    play.server(completed("COMMIT", TransactionState::Idle));
    assert_eq!(play.got(), "CZ(I)");

    play.client(query("UPDATE t SET a = 1 WHERE id > 5"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    play.sent();
    play.server(completed("UPDATE 1001", TransactionState::InBlock));
    assert_eq!(play.sent(), ["Q ROLLBACK"]);
    play.server(completed("ROLLBACK", TransactionState::Idle));
    assert_eq!(play.got(), "E(54000)Z(I)");
}

#[test]
fn sync_waits_for_the_count() {
    let mut play = Play::service();
    play.client(|out| {
        extended("UPDATE t SET a = 1 WHERE id > 5", out);
        one_byte(b'S', out);
    });
    assert_eq!(play.sent(), ["P UPDATE t SET a = 1 WHERE id > 5", "B", "E", "H"], "no Sync yet");
    play.server(|out| {
        one_byte(b'1', out);
        one_byte(b'2', out);
        put_command_complete("UPDATE 1001", out);
    });
    let sent = play.sent();
    assert!(sent[0].contains("rule row-limit") && sent[1] == "S", "{sent:?}");
    play.server(|out| {
        Report::error("42601", "syntax error").write(out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "12E(54000)Z(I)");
}

#[test]
fn a_prepared_statement_follows_its_session() {
    let mut play = Play::service();
    play.client(|out| {
        put_parse("mine", b"SELECT $1", &[0, 0], out);
        one_byte(b'S', out);
    });
    assert_eq!(play.sent(), ["P NAME SELECT $1", "S"]);
    play.server(|out| {
        one_byte(b'1', out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "1Z(I)");
    // Another connection, which does not have it.
    let applied = play.link.applied.clone();
    play.link = Link::new(Parameters::default());
    play.link.applied = applied;
    play.client(|out| {
        put_bind_head("", "mine", 6, out);
        out.extend_from_slice(&[0; 6]);
        put_target(b'D', b'P', "", out);
        put_execute("", out);
        one_byte(b'S', out);
    });
    assert_eq!(play.sent(), ["P NAME SELECT $1", "B", "D", "E", "S"]);
    play.server(|out| {
        for tag in [b'1', b'2', b'n'] {
            one_byte(tag, out);
        }
        put_command_complete("SELECT 0", out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.got(), "2nCZ(I)", "the proxy's own ParseComplete is not the client's");
}

#[test]
fn a_message_that_was_not_expected_makes_the_connection_doubtful() {
    let mut play = Play::service();
    play.client(query("SELECT 1"));
    one_byte(b'1', &mut play.link.inbox);
    assert!(play.core.upstream(&mut play.link).is_err());
}

#[test]
fn malformed_messages_are_errors_and_unknown_ones_end_the_session() {
    let mut play = Play::service();
    play.client(|out| out.extend_from_slice(b"Q\0\0\0\x0eSELECT 1\0x"));
    assert_eq!(play.got(), "E(08P01)Z(I)");
    assert!(matches!(play.client(|out| out.extend_from_slice(b"!\0\0\0\x04")), Step::End));
    assert_eq!(play.got(), "E(08P01)");
    assert_eq!(play.sent(), Vec::<String>::new());
}

#[test]
fn a_set_is_carried_to_the_next_connection_and_a_rollback_undoes_it() {
    let mut play = Play::service();
    play.core.state.mark_boundary(&play.link);
    play.client(query("SET TIME ZONE 'Etc/GMT+5'"));
    play.server(completed("SET", TransactionState::Idle));
    assert_eq!(play.core.state.wanted.get("timezone"), Some("Etc/GMT+5"));
    play.client(query("BEGIN"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    play.client(query("SET TIME ZONE 'UTC'"));
    play.server(completed("SET", TransactionState::InBlock));
    play.client(query("ROLLBACK"));
    play.server(completed("ROLLBACK", TransactionState::Idle));
    assert_eq!(play.core.state.wanted.get("timezone"), Some("Etc/GMT+5"));
    play.sent();
    play.link = Link::new(Parameters::default());
    play.link.applied = Applied::Known(play.core.judge.forced.clone());
    play.client(query("SELECT now()"));
    let sent = play.sent();
    assert!(sent.len() == 1 && sent[0].contains("'timezone','Etc/GMT+5'"), "{sent:?}");
}

#[test]
fn the_rest_of_a_bind_that_was_not_sent_is_dropped() {
    let mut play = Play::service();
    play.client(query("BEGIN"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    play.sent();
    let hidden = {
        let mut hidden = BytesMut::new();
        put_query(b"DELETE FROM t", &mut hidden);
        hidden
    };
    play.client(|out| {
        put_parse("", b"SHOW pgbelay.tier", &[0, 0], out);
        put_bind_head("", "", 6 + 5000 + hidden.len(), out);
        out.extend_from_slice(&[0; 5006]);
    });
    play.client(|out| {
        out.extend_from_slice(&hidden);
        one_byte(b'S', out);
    });
    assert_eq!(
        play.sent(),
        Vec::<String>::new(),
        "the answer is the proxy's own, so nothing of the Bind goes upstream"
    );
}

#[test]
fn nothing_follows_a_reset_in_its_pipeline() {
    let mut play = Play::new(Role::Engineer, Tier::Prod);
    play.client(|out| {
        extended("RESET ALL", out);
        extended("SELECT wipe()", out);
        one_byte(b'S', out);
    });
    let sent = play.sent();
    assert!(!sent.iter().any(|message| message.contains("wipe")), "{sent:?}");
}

#[test]
fn a_reset_that_is_committed_at_once_outlives_the_failure_of_its_pipeline() {
    let mut play = Play::new(Role::Engineer, Tier::Prod);
    play.core.state.mark_boundary(&play.link);
    play.client(|out| {
        extended("DISCARD ALL", out);
        extended("SELECT wipe()", out);
        one_byte(b'S', out);
    });
    play.sent();
    play.server(|out| {
        one_byte(b'1', out);
        one_byte(b'2', out);
        put_command_complete("DISCARD ALL", out);
        Report::error("42601", "syntax error").write(out);
        put_ready(TransactionState::Idle, out);
    });
    play.client(query("SELECT wipe()"));
    let sent = play.sent();
    assert!(sent.len() == 1 && sent[0].contains("default_transaction_read_only"), "{sent:?}");
}

#[test]
fn a_server_that_says_it_is_read_write_is_not_believed_to_be_read_only() {
    let mut play = Play::new(Role::Engineer, Tier::Prod);
    play.client(query("SELECT 1"));
    play.sent();
    play.server(|out| {
        put_command_complete("SELECT 1", out);
        crate::wire::put_parameter_status("default_transaction_read_only", "off", out);
        put_ready(TransactionState::Idle, out);
    });
    play.client(query("SELECT wipe()"));
    let sent = play.sent();
    assert!(sent.len() == 1 && sent[0].contains("default_transaction_read_only"), "{sent:?}");
}

#[test]
fn each_guarded_statement_has_an_intent_of_its_own() {
    let mut play = Play::service();
    let mut asked = 0;
    for sql in ["UPDATE t SET a = 1 WHERE id = 5", "NOTIFY x", "UPDATE t SET a = 2 WHERE id = 5"] {
        put_query(sql.as_bytes(), &mut play.input);
        for _ in 0..9 {
            match play.core.client(&mut play.input, Some(&mut play.link)) {
                Step::NeedIntent(record) => {
                    asked += 1;
                    assert_eq!(record.statement.unwrap().sql, sql);
                    play.core.intent_recorded(Ok(()));
                }
                Step::AwaitReplies => {
                    let sent = play.sent().concat();
                    let tag = if sent.contains("UPDATE") { "UPDATE 1" } else { "BEGIN" };
                    let state =
                        if sent.contains("COMMIT") { TransactionState::Idle } else { TransactionState::InBlock };
                    completed(tag, state)(&mut play.link.inbox);
                    play.core.upstream(&mut play.link).unwrap();
                }
                _ if !play.core.is_idle() => {
                    completed("NOTIFY", TransactionState::Idle)(&mut play.link.inbox);
                    play.core.upstream(&mut play.link).unwrap();
                }
                _ => break,
            }
        }
        play.sent();
    }
    assert_eq!(asked, 3);
}

#[test]
fn an_open_doubt_keeps_the_connection() {
    let mut play = Play::new(Role::Service, Tier::Int);
    play.client(|out| {
        extended("SELECT set_config('search_path', $1, false)", out);
        one_byte(b'S', out);
        one_byte(b'S', out);
    });
    play.sent();
    play.server(|out| {
        one_byte(b'1', out);
        one_byte(b'2', out);
        put_command_complete("SELECT 1", out);
        put_ready(TransactionState::Idle, out);
    });
    let sent = play.sent();
    assert!(sent.iter().any(|message| message.contains("current_setting('search_path'")), "{sent:?}");
    assert!(!play.core.may_release());
}

#[test]
fn a_server_that_reads_texts_otherwise_is_left() {
    let mut play = Play::service();
    play.client(query("SELECT own_function()"));
    crate::wire::put_parameter_status("standard_conforming_strings", "off", &mut play.link.inbox);
    assert!(play.core.upstream(&mut play.link).is_err());

    let mut play = Play::service();
    play.client(|out| {
        extended("SELECT own_function()", out);
        extended("SELECT 'a\\', pg_sleep(1)--'", out);
        one_byte(b'S', out);
    });
    let sent = play.sent();
    assert!(!sent.iter().any(|message| message.contains("pg_sleep")), "{sent:?}");
}

#[test]
fn rows_that_no_tag_tells_are_counted() {
    let sql = "WITH d AS (DELETE FROM t WHERE id > 5 RETURNING id) SELECT count(*) FROM d";
    for (deleted, expected) in [(b"1000", "DCZ(I)"), (b"1001", "DE(54000)Z(I)")] {
        let deleted = std::str::from_utf8(deleted).unwrap();
        let mut play = Play::service();
        play.client(query(sql));
        let count = |rows: &str| {
            let rows = rows.to_owned();
            move |out: &mut BytesMut| {
                put_text_row(&[&rows], out);
                put_command_complete("SELECT 1", out);
                put_ready(TransactionState::InBlock, out);
            }
        };
        play.server(completed("BEGIN", TransactionState::InBlock));
        play.server(count("0"));
        assert!(play.sent().last().unwrap().contains("WITH d"));
        play.server(count("1"));
        play.server(count(deleted));
        let end = play.sent().pop().unwrap();
        play.server(completed(end.trim_start_matches("Q "), TransactionState::Idle));
        assert_eq!(play.got(), expected, "{end}");

        let mut play = Play::service();
        play.client(|out| {
            extended(sql, out);
            one_byte(b'S', out);
        });
        assert!(!play.sent().contains(&"S".to_owned()), "Sync waits");
        let aside = |rows: &str, out: &mut BytesMut| {
            one_byte(b'1', out);
            one_byte(b'2', out);
            put_text_row(&[rows], out);
            put_command_complete("SELECT 1", out);
            one_byte(b'3', out);
            one_byte(b'3', out);
        };
        play.server(|out| {
            one_byte(b'1', out);
            one_byte(b'2', out);
            aside("7", out);
            put_text_row(&["1"], out);
            put_command_complete("SELECT 1", out);
            aside(&(7 + deleted.parse::<u64>().unwrap()).to_string(), out);
        });
        let failed = deleted == "1001";
        play.server(|out| {
            if failed {
                Report::error("42601", "syntax error").write(out);
            }
            put_ready(TransactionState::Idle, out);
        });
        assert_eq!(play.got(), format!("12{expected}"));
    }
}

#[test]
fn nothing_of_the_proxys_own_lands_inside_a_message_that_is_half_passed_on() {
    let mut play = Play::new(Role::Service, Tier::Int);
    play.client(query("COPY t FROM STDIN"));
    play.server(|out| out.extend_from_slice(b"G\0\0\0\x07\0\0\0"));
    play.sent();
    // The front of a CopyData, and something in doubt.
    play.client(|out| out.extend_from_slice(b"d\0\0\x10\x04front"));
    play.core.state.doubt.pins();
    play.server(|out| {
        Report::error("22P04", "bad data").write(out);
        put_ready(TransactionState::Idle, out);
    });
    assert_eq!(play.link.outbox.split().len(), 5 + 5, "the front alone");
    play.client(|out| out.extend_from_slice(&[b'x'; 0x1000 - 5]));
    let rest = play.link.outbox.split_to(0x1000 - 5);
    assert!(rest.iter().all(|&byte| byte == b'x'));
    play.client(|_| {});
    assert!(play.sent().concat().contains("pg_my_temp_schema"), "it is asked behind it");
}

#[test]
fn a_bind_is_sent_whole_or_not_at_all() {
    let mut play = Play::service();
    play.client(|out| {
        put_parse("", b"SELECT $1", &[0, 0], out);
        put_bind_head("", "", 9000, out);
        out.extend_from_slice(&[0; 6000]);
    });
    assert_eq!(play.sent(), ["P SELECT $1"]);
    play.client(|out| out.extend_from_slice(&[0; 3000]));
    assert_eq!(play.sent(), ["B"]);
}

#[test]
fn a_batch_behind_a_query_waits_for_it() {
    let mut play = Play::new(Role::Engineer, Tier::Prod);
    play.client(|out| {
        put_query(b"DISCARD ALL", out);
        extended("SELECT own_function()", out);
        one_byte(b'S', out);
    });
    assert_eq!(play.sent(), ["Q DISCARD ALL"]);
    play.server(completed("DISCARD ALL", TransactionState::Idle));
    let sent = play.sent();
    assert!(sent.len() == 1 && sent[0].contains("default_transaction_read_only"), "first its settings: {sent:?}");
}

#[test]
fn portals_of_the_next_batch_outlive_the_end_of_the_one_before() {
    let mut play = Play::new(Role::Service, Tier::Int);
    play.client(|out| {
        extended("SELECT 1", out);
        one_byte(b'S', out);
        put_parse("", b"SELECT 2", &[0, 0], out);
        put_bind_head("", "", 6, out);
        out.extend_from_slice(&[0; 6]);
    });
    play.server(|out| {
        one_byte(b'1', out);
        one_byte(b'2', out);
        put_command_complete("SELECT 1", out);
        put_ready(TransactionState::Idle, out);
    });
    play.sent();
    play.got();
    play.client(|out| {
        put_execute("", out);
        one_byte(b'S', out);
    });
    assert_eq!(play.sent(), ["E", "S"]);
}

#[test]
fn deallocate_all_forgets_the_sessions_statements_alone() {
    let mut play = Play::service();
    play.client(|out| {
        put_parse("mine", b"SELECT 1", &[0, 0], out);
        one_byte(b'S', out);
    });
    play.server(|out| {
        one_byte(b'1', out);
        put_ready(TransactionState::Idle, out);
    });
    play.sent();
    play.got();
    play.client(|out| {
        extended("DEALLOCATE ALL", out);
        put_bind_head("", "mine", 6, out);
        out.extend_from_slice(&[0; 6]);
        one_byte(b'S', out);
    });
    assert!(!play.sent().iter().any(|message| message == "E"), "the connection keeps what it has for others");
}
