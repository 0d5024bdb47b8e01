//! A cancel that hits what the proxy itself asks of the server, on the way to the client's statement or behind it.

use super::*;

fn cancelled(state: TransactionState) -> impl FnOnce(&mut BytesMut) {
    move |out| {
        Report::error("57014", "canceling statement due to user request").write(out);
        put_ready(state, out);
    }
}

#[test]
fn a_cancel_of_the_settings_cancels_the_statement_behind_them() {
    let mut play = Play::service();
    play.link.applied = Applied::Known(crate::upstream::Settings::default());
    play.client(query("SELECT 1"));
    let sent = play.sent();
    assert!(sent.len() == 1 && sent[0].contains("set_config("), "{sent:?}");
    cancelled(TransactionState::Idle)(&mut play.link.inbox);
    play.core.upstream(&mut play.link).unwrap();
    assert!(play.core.drop_lease, "what is set there now is not known");
    let report = play.core.refusal.clone().unwrap();
    assert_eq!((report.sqlstate, report.message.as_str()), ("57014", "canceling statement due to user request"));
}

#[test]
fn a_cancel_of_the_transaction_around_a_write_cancels_the_write() {
    let mut play = Play::service();
    play.client(query("UPDATE t SET a = 1 WHERE id = 2"));
    assert_eq!(play.sent(), ["Q BEGIN"]);
    play.server(cancelled(TransactionState::Idle));
    assert_eq!(play.got(), "E(57014)Z(I)");
    assert_eq!(play.sent(), Vec::<String>::new(), "it does not run after all");
    let result = play.core.records.iter().find(|record| record.event == Event::Result).unwrap();
    assert_eq!(result.sqlstate.as_deref(), Some("57014"), "and the trail does not say that it did");
}
