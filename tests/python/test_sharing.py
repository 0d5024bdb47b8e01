"""What one statement or session must not see of another on the same upstream connection: cancels, prepared statements."""

import struct
import threading
import time

import pytest

from support import wire as w
from support.ports import wait_until
from support.relay import Relay
from support.sessions import rows, status
from support.wire import SYNC, bind, close, describe, execute, parse, query

pytestmark = pytest.mark.needs_proxy


# --- late cancels ---


@pytest.fixture
def slow_cancels(make_proxy, cluster):
    """A proxy whose CancelRequests reach the server only when the event is set."""
    release = threading.Event()
    with Relay((cluster.host, cluster.port), hold_cancels=release) as relay:
        url = {"url": f"postgres://app@127.0.0.1:{relay.port}/app_int?sslmode=disable"}
        yield make_proxy({"databases": {"app": {"int": url}}}), relay, release
        release.set()


def cancel(proxy, wire):
    """Sends a CancelRequest for a session, without waiting for its end."""
    other = proxy.wire()
    pid, key = wire.key
    other.send(struct.pack("!iii", 12 + len(key), w.CANCEL, pid) + key)
    return other


@pytest.mark.parametrize("place", ["idle", "in a block", "behind settings"])
@pytest.mark.parametrize("run", [query("SELECT pg_sleep(30)"), parse("SELECT pg_sleep(30)") + bind() + execute() + SYNC], ids=["simple", "extended"])
def test_a_cancel_that_comes_before_its_statement_is_read(proxy, place, run):
    """libpq's PQcancel right behind PQsendQuery: both are on their way at once, on two sockets."""
    with proxy.wire_login("app", "int") as wire:
        for i in range(15):
            if place == "in a block":
                wire.simple("BEGIN")
            elif place == "behind settings":
                wire.simple(f"SET work_mem = {100 + i}")
            wire.send(run)
            cancel(proxy, wire).rest()
            messages = wire.until()
            assert w.errors(messages) == ["57014"], i
            assert status(messages) == ("E" if place == "in a block" else "I")
            wire.simple("ROLLBACK")


@pytest.mark.parametrize("place", ["idle", "in a block"])
def test_a_cancel_does_not_mean_what_is_sent_behind_it(proxy, place):
    with proxy.wire_login("app", "int") as wire:
        if place == "in a block":
            wire.simple("BEGIN")
        for _ in range(15):
            cancel(proxy, wire).rest()
            assert rows(wire.simple("SELECT 1")) == [["1"]]
            wire.send(query("SELECT 1"), query("SELECT 2"))
            assert [rows(wire.until()) for _ in range(2)] == [[["1"]], [["2"]]]


def active(cluster, marker):
    with cluster.admin() as conn:
        return conn.execute("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()",
                            [f"%{marker}%"]).fetchone()


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_late_cancel_does_not_hit_the_next_statement_of_a_transaction(slow_cancels, cluster, protocol):
    proxy, relay, release = slow_cancels

    def send(wire, sql):
        wire.send(*([w.query(sql)] if protocol == "simple" else [parse(sql), bind(), execute(), SYNC]))

    with proxy.wire_login() as wire:
        wire.simple("BEGIN")
        send(wire, "SELECT pg_sleep(0.3), 'first'")
        wait_until(lambda: active(cluster, "first"), "the first runs")
        with cancel(proxy, wire):
            wait_until(lambda: relay.held == 1, "the cancel is on its way")
            assert not w.errors(wire.until()), "it comes too late"
            send(wire, "SELECT pg_sleep(0.5), 'second'")
            assert wire.silent(0.3) and not active(cluster, "second"), "the second waits for it to arrive"
            release.set()
            assert not w.errors(wire.until())
        assert not w.errors(wire.simple("COMMIT"))


def test_a_cancel_in_time_still_cancels(slow_cancels, cluster):
    proxy, relay, release = slow_cancels
    release.set()
    with proxy.wire_login() as wire:
        wire.simple("BEGIN")
        wire.send(w.query("SELECT pg_sleep(30), 'cancelled'"))
        wait_until(lambda: active(cluster, "cancelled"), "it runs")
        with cancel(proxy, wire):
            assert w.errors(wire.until()) == ["57014"]
        assert not w.errors(wire.simple("ROLLBACK"))
        assert not w.errors(wire.simple("SELECT pg_sleep(0.1)"))


def test_a_cancel_that_never_arrives_holds_up_no_longer_than_a_connection_may_take(slow_cancels, make_proxy, cluster):
    proxy, relay, _ = slow_cancels
    proxy.reload({"databases": {"app": {"int": {"connect_timeout": "1s"}}}})
    with proxy.wire_login() as wire:
        wire.simple("BEGIN")
        wire.send(w.query("SELECT pg_sleep(0.3), 'first'"))
        wait_until(lambda: active(cluster, "first"), "the first runs")
        with cancel(proxy, wire):
            wait_until(lambda: relay.held == 1, "the cancel is on its way")
            assert not w.errors(wire.until())
            started = time.monotonic()
            assert not w.errors(wire.simple("SELECT 1"))
            assert time.monotonic() - started < 5


# --- prepared statements ---


@pytest.fixture
def one_connection(make_proxy):
    """Sessions that share one upstream connection."""
    return make_proxy({"tiers": {"int": {"pool": {"max": 1}}}})


SHOWN = "SELECT statement FROM pg_prepared_statements ORDER BY 1"


@pytest.mark.parametrize("text", [
    SHOWN,
    SHOWN.replace("pg_prepared_statements", "PG_CATALOG.PG_Prepared_Statements"),
    SHOWN.replace("pg_prepared_statements", 'U&"pg\\005fprepared_statements"'),
    SHOWN.replace("pg_prepared_statements", "pg_prepared_statement()"),
    "SELECT 1; " + SHOWN,
])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_session_sees_its_own_prepared_statements_only(one_connection, text, protocol):
    if protocol == "extended" and ";" in text:
        pytest.skip("one statement in the extended protocol")
    with one_connection.wire_login() as alice, one_connection.wire_login() as bob:
        for wire, secret in ((alice, "alice"), (bob, "bob")):
            answers = exchange(wire, parse(f"SELECT 'secret of {secret}'", "mine"), bind("mine"), execute(), SYNC)
            assert not w.errors(answers)
        sent = [w.query(text)] if protocol == "simple" else [parse(text, "shown"), bind("shown"), execute(), SYNC]
        answers = exchange(bob, *sent)
        assert not w.errors(answers)
        seen = [row for m in answers if m.kind == "D" for row in m.row()]
        assert any("secret of bob" in (value or "") for value in seen), seen
        assert not any("alice" in (value or "") for value in seen), seen
        # Alice does not notice.
        answers = exchange(alice, bind("mine"), execute(), SYNC)
        assert [m.row() for m in answers if m.kind == "D"] == [["secret of alice"]]


def test_inside_a_failed_transaction_nothing_is_lost(one_connection):
    with one_connection.wire_login() as alice, one_connection.wire_login() as bob:
        exchange(alice, parse("SELECT 'secret of alice'", "mine"), bind("mine"), execute(), SYNC)
        bob.simple("BEGIN")
        assert w.errors(bob.simple("SELECT 1/0")) == ["22012"]
        assert w.errors(bob.simple(SHOWN)) == ["25P02"]
        bob.simple("ROLLBACK")
        answers = exchange(alice, bind("mine"), execute(), SYNC)
        assert [m.row() for m in answers if m.kind == "D"] == [["secret of alice"]]


def exchange(wire, *parts):
    wire.send(*parts)
    return wire.until()


def test_the_bytes_of_prepared_statements_are_bounded(one_connection):
    """32 MiB a session; how they add up is tested in src/session/prepared.rs, since large texts take long to read."""
    with one_connection.wire_login() as wire:
        assert not w.errors(exchange(wire, parse("SELECT 1", "small"), SYNC))
        answers = exchange(wire, parse(f"SELECT 2 /* {'x' * (32 << 20)} */", "large"), SYNC)
        assert w.errors(answers) == ["54000"]
        told = next(m for m in answers if m.kind == "E").fields()
        assert "too large" in told["M"] and "32 MiB" in told["D"]
        assert not w.errors(exchange(wire, bind("small"), execute(), SYNC))
        assert not w.errors(exchange(wire, parse("SELECT 3", "large"), bind("large"), execute(), SYNC))


# --- sequence values ---


@pytest.fixture
def sequences(make_proxy, cluster):
    """Two sessions that share one connection, and two sequences."""
    with cluster.connect("app_int") as conn:
        conn.execute("CREATE SEQUENCE IF NOT EXISTS mine; CREATE SEQUENCE IF NOT EXISTS others; CREATE TABLE IF NOT EXISTS kept (id int)")
    # Where one connection is the pool, none is kept for what a sequence gave.
    proxy = make_proxy({"tiers": {"int": {"pool": {"min": 0, "max": 1}}}})
    with proxy.wire_login() as one, proxy.wire_login() as other:
        yield one, other


def test_what_a_sequence_gave_another_session_is_not_told_after_moving_one_of_ones_own(sequences):
    one, other = sequences
    for session in sequences:
        session.simple("BEGIN")
        session.simple("SELECT nextval('mine')")
        assert not w.errors(session.simple("SELECT currval('mine'); COMMIT"))
    one.simple("SELECT nextval('others')")
    other.simple("SELECT nextval('mine')")
    assert w.errors(other.simple("SELECT currval('others')")) == ["55000"]


def test_what_a_sequence_gave_another_session_is_not_told_in_a_pipeline(sequences):
    one, other = sequences
    for _ in range(2):
        one.simple("SELECT nextval('others')")
        other.send(parse("SELECT 1"), bind(), execute(), parse("SELECT currval('others')"), bind(), execute(), SYNC)
        assert w.errors(other.until()) == ["55000"]


def test_a_query_behind_a_batch_without_sync_is_of_its_transaction(sequences):
    """Though the connection has to forget another session's values before it."""
    one, other = sequences
    one.simple("SELECT nextval('others')")
    other.send(parse("INSERT INTO kept VALUES (1)"), bind(), execute(), w.query("SELECT currval('others')"), SYNC)
    assert w.errors(other.until() + other.until()) == ["55000"]
    assert rows(other.simple("SELECT count(*) FROM kept")) == [["0"]]


def test_a_pipeline_is_told_what_its_own_sequence_gave(sequences):
    one, other = sequences
    one.simple("SELECT nextval('others')")
    other.send(parse("SELECT 1"), bind(), execute(), parse("SELECT nextval('mine') - currval('mine')"), bind(), execute(),
               parse("SELECT lastval() - currval('mine')"), bind(), execute(), SYNC)
    assert rows(other.until()) == [["1"], ["0"], ["0"]]


def test_an_older_value_on_another_connection_is_not_told(make_proxy, cluster):
    with cluster.connect("app_int") as conn:
        conn.execute("CREATE SEQUENCE IF NOT EXISTS older")
    # Two connections, of which none may be kept for what a sequence gave while the other one is.
    proxy = make_proxy({"tiers": {"int": {"pool": {"min": 0, "max": 2}}}})
    with proxy.wire_login() as one, proxy.wire_login() as other, proxy.wire_login() as third:
        (first,) = rows(one.simple("SELECT nextval('older'), pg_backend_pid()"))
        # The first connection is taken, so that it moves the sequence on the second.
        if rows(other.simple("BEGIN; SELECT pg_backend_pid()")) != [first[1:]]:
            third.simple("BEGIN; SELECT 1")
            other.simple("COMMIT")
            other, third = third, other
        (second,) = rows(one.simple("SELECT nextval('older'), pg_backend_pid()"))
        assert second[1] != first[1]
        third.simple("BEGIN; SELECT 1")
        other.simple("COMMIT")
        answer = one.simple("SELECT lastval(), pg_backend_pid()")
        assert rows(answer) in ([], [second]), "its own last, or none"


@pytest.mark.parametrize("described", ["statement", "portal"])
@pytest.mark.parametrize("change, outcome", [
    ("ALTER TABLE told ALTER b TYPE bigint", ["0A000"]), ("ALTER TABLE told ADD c int", ["0A000"]), ("ALTER TABLE told RENAME b TO c", ["0A000"]),
    ("CREATE INDEX ON told (a)", []), ("SELECT 1", []), ("DROP TABLE told; CREATE TABLE told AS SELECT 1 AS a, 2 AS b", [])])
def test_a_statement_returns_what_its_client_was_told(proxy, cluster, described, change, outcome):
    """On any connection: a driver reads rows by the description that it was given once."""
    # Its own text: the table is changed behind pgbelay's back, and connections keep what they have prepared.
    text = f"SELECT * FROM told WHERE a = $1 -- {described}, {change}"
    run = bind("told", "", ("1",)) + (describe("P") if described == "portal" else b"") + execute() + SYNC
    with cluster.connect("app_int") as ddl, proxy.wire_login("app", "int") as wire, proxy.connect("app", "int") as other:
        ddl.execute("DROP TABLE IF EXISTS told; CREATE TABLE told AS SELECT 1 AS a, 2 AS b")
        wire.send(parse(text, "told"), describe("S", "told") if described == "statement" else b"", run)
        assert rows(wire.until()) == [["1", "2"]]
        ddl.execute(change)
        # The connection that has the statement is lent to somebody else.
        other.execute("BEGIN")
        other.execute("SELECT 1")
        for _ in range(2):
            wire.send(run, run)
            assert [w.errors(wire.until()) for _ in range(2)] == [outcome, outcome]
        other.execute("COMMIT")
        wire.send(run)
        assert w.errors(wire.until()) == outcome
        if outcome:
            wire.send(run)
            (error,) = [m.fields() for m in wire.until() if m.kind == "E"]
            # By these drivers know that they have to prepare it again.
            assert (error["M"], error["R"]) == ("cached plan must not change result type", "RevalidateCachedQuery")
        wire.send(close("S", "told"), parse(text, "told"), describe("S", "told"), run)
        messages = wire.until()
        assert not w.errors(messages) and rows(messages)[0][0] == "1"
