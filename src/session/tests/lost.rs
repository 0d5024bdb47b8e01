//! A connection that is lost in the middle.

use super::*;
use crate::session::server_side::Broken;

#[test]
fn a_lost_connection_is_an_error_and_a_lost_block_stays_failed() {
    let mut play = Play::service();
    play.client(query("SELECT 1"));
    assert!(play.core.upstream_lost(&crate::session::lost::lost_report("x")).is_none());
    assert_eq!(play.got(), "E(08006)Z(I)");
    play.sent();

    play.link = Link::new(Parameters::default());
    play.link.applied = Applied::Known(play.core.judge.forced.clone());
    play.client(query("BEGIN"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    assert!(play.core.upstream_lost(&crate::session::lost::lost_report("x")).is_none());
    play.got();
    play.sent();
    play.client(query("SELECT 1"));
    assert_eq!(play.got(), "E(08006)Z(E)", "why it has failed");
    play.client(query("SELECT 1"));
    assert_eq!(play.got(), "E(25P02)Z(E)", "what follows is not run on its own");
    play.client(query("COMMIT"));
    assert_eq!(play.got(), "CZ(I)");
    assert_eq!(play.sent(), Vec::<String>::new());
}

/// A service's session in a block whose connection is lost, idle or while this runs.
fn in_lost_block(in_flight: Option<&'static str>) -> Play {
    let mut play = Play::service();
    play.link.applied = Applied::Known(play.core.judge.forced.clone());
    play.client(query("BEGIN"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    if let Some(sql) = in_flight {
        play.client(query(sql));
    }
    play.got();
    play.sent();
    assert!(play.core.upstream_lost(&crate::session::lost::lost_report("x")).is_none());
    play
}

#[test]
fn the_loss_of_a_block_is_told_once() {
    let mut play = in_lost_block(Some("SELECT 1"));
    assert_eq!(play.got(), "E(08006)Z(E)");
    play.client(query("ROLLBACK"));
    assert_eq!(play.got(), "CZ(I)", "the client knows, and ends the block");
}

#[test]
fn a_rollback_ends_a_lost_block_and_a_commit_fails() {
    let mut play = in_lost_block(None);
    play.client(query("ROLLBACK"));
    assert_eq!(play.got(), "CZ(I)");
    let mut play = in_lost_block(None);
    play.client(query("COMMIT"));
    assert_eq!(play.got(), "E(08006)Z(I)", "nothing was committed, and the block is over");
    let mut play = in_lost_block(Some("COMMIT"));
    assert_eq!(play.got(), "E(08006)Z(I)", "whether it was is not known, and the block is over");
    assert_eq!(play.sent(), Vec::<String>::new());
}

/// What `ErrorResponse` the server ends its process with.
fn terminated(out: &mut BytesMut) {
    crate::wire::Report::fatal("57P01", "terminating connection due to administrator command").write(out);
}

#[test]
fn a_process_that_ends_in_a_statement_or_a_block_ends_the_session() {
    let mut play = Play::service();
    play.client(query("SELECT 1"));
    terminated(&mut play.link.inbox);
    let Err(Broken::Fatal { sqlstate, response, .. }) = play.core.upstream(&mut play.link) else { panic!("not fatal") };
    assert!(play.core.is_using_server(), "a statement runs");
    play.core.ended_by_server(&sqlstate, &response);
    assert_eq!(play.got(), "E(57P01)", "and nothing behind it");

    let mut play = Play::service();
    play.client(query("BEGIN"));
    play.server(completed("BEGIN", TransactionState::InBlock));
    assert!(play.core.is_using_server(), "a block is open");
}

#[test]
fn a_process_that_ends_before_anything_was_asked_of_it_ends_no_session() {
    let mut play = Play::service();
    assert!(!play.core.is_using_server());
    play.link.applied = Applied::Unknown;
    play.client(query("SELECT 1"));
    assert!(!play.sent().iter().any(|sent| sent.contains("SELECT 1")), "settings go first");
    assert!(!play.core.is_using_server(), "the statement is sent again elsewhere");
}
