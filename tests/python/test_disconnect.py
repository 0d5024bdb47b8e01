"""Clients that go away, at every step and in every way: nothing is left behind, in the pool, on the server or in the trail."""

import socket
import struct

import pytest

from support import scram
from support import wire as w
from support.ports import wait_until
from support.proxy import USERS
from support.wire import COPY_DONE, FLUSH, SYNC, TERMINATE, bind, copy_data, execute, parse, query

pytestmark = pytest.mark.needs_proxy

ROWS = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"

# What was sent, and what of the answers was read, when the client went: types of the last message of each answer.
STEPS = {
    "half a query": [(query("SELECT 1")[:9], None)],
    "half a Parse in a block": [(query("BEGIN"), "Z"), (parse("SELECT 1")[:11], None)],
    "in a block": [(query("BEGIN"), "Z"), (query("UPDATE projects SET name = name WHERE id = 38"), "Z")],
    "unread rows": [(query(ROWS), "T")],
    "a sleep": [(query("SELECT pg_sleep(60)"), None)],
    "a write": [(query("UPDATE projects SET name = name WHERE id = 39"), None)],
    "pipeline, nothing read": [((parse(ROWS) + bind() + execute() + SYNC) * 3, None)],
    "pipeline without Sync": [(parse("UPDATE projects SET name = name WHERE id = 40") + bind() + execute() + FLUSH, "C")],
    "a portal half read": [(parse(ROWS) + bind() + execute(rows=5) + FLUSH, "s")],
    "copy in, nothing sent": [(query("COPY scratch FROM STDIN"), "G")],
    "copy in, half a row": [(query("COPY scratch FROM STDIN"), "G"), (copy_data(b"1\n" * 500)[:99], None)],
    "copy in, its end unread": [(query("COPY scratch FROM STDIN"), "G"), (copy_data(b"1\n") + COPY_DONE, None)],
    "copy out": [(query(f"COPY ({ROWS}) TO STDOUT"), "H")],
    "a pin": [(query("CREATE TEMP TABLE left_behind (a int)"), "Z"), (query("LISTEN x"), "Z")],
    "a lock": [(query("SELECT pg_advisory_lock(77)"), "Z")],
    "a refusal": [(query("BEGIN"), "Z"), (query("DELETE FROM projects"), None)],
}


def go(wire, how):
    """Leaves: with a reset, by closing, or as clients should."""
    if how == "reset":
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "terminate":
        wire.send(TERMINATE)
    wire.sock.close()


def gauge(proxy, name):
    """The sum of a gauge over all tiers."""
    return sum(value for _, value in proxy.metrics().get(name, []))


def at_rest(proxy):
    """No session, and no connection in use or pinned."""
    names = ("pgbelay_sessions", "pgbelay_pool_connections_in_use", "pgbelay_sessions_pinned", "pgbelay_pool_clients_waiting")
    return not any(gauge(proxy, name) for name in names)


def unended(proxy):
    """Sessions with a record of their beginning and none of their end."""
    begun, ended = ([r["session"] for r in proxy.records(event)] for event in ("session.start", "session.end"))
    assert len(ended) == len(set(ended)), "a session ended twice"
    return set(begun) - set(ended)


@pytest.mark.parametrize("how", ["reset", "close", "terminate"])
def test_whatever_a_client_was_doing(make_proxy, cluster, how):
    name = cluster.fresh_database("left")
    with cluster.connect(name) as conn:
        conn.execute("CREATE TABLE scratch (a int)")
    proxy = make_proxy({"tiers": {tier: {"pool": {"min": 0, "max": 4}} for tier in ("int", "prod")}},
                       {("app", tier): name for tier in ("int", "stg", "prod")})
    for tier in ("int", "prod"):
        for what, steps in STEPS.items():
            wire = proxy.wire_login("app", tier)
            for sent, read in steps:
                wire.send(sent)
                if read:
                    assert wire.until(read, "Z", "E")[-1].kind == read, what
            go(wire, how)
    wait_until(lambda: at_rest(proxy), "all connections are given back or closed", 20)
    wait_until(lambda: not unended(proxy), "every session's end is on record")
    for tier in ("int", "prod"):
        with proxy.connect("app", tier) as conn:
            assert conn.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)
            assert conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
            assert conn.execute("SELECT to_regclass('left_behind')").fetchone() == (None,)
    wait_until(lambda: not [b for b in cluster.backends(name) if b[1] != "idle"], "nothing runs on the server")
    intents = {(r["session"], r["statement"]) for r in proxy.records("statement")}
    results = {(r["session"], r["statement"]) for r in proxy.records("result")}
    assert intents and intents <= results, "each intent has its result"
    proxy.stop()
    assert proxy.verify().returncode == 0
    cluster.drop_database(name)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_while_waiting_to_be_let_in(make_proxy, how):
    """Whoever hung up has no place in the queue any more, and no session that never ends."""
    proxy = make_proxy({"tiers": {"int": {"pool": {"min": 0, "max": 1, "wait": "20s"}}}})
    with proxy.connect("app", "int") as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        wire = proxy.wire()
        # Settings that nobody had before: the server is asked what a client with them is told.
        wire.send(w.startup_packet({"user": "app", "database": "app:int", "application_name": "early bird"}))
        assert wire.receive().kind == "R"
        client = scram.Client(USERS["app"][1])
        first = client.first()
        wire.send(w.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        wire.send(w.message("p", client.final(wire.receive().body[4:])))
        wait_until(lambda: gauge(proxy, "pgbelay_pool_clients_waiting"), "it waits for a connection")
        go(wire, how)
        wait_until(lambda: not gauge(proxy, "pgbelay_pool_clients_waiting"), "it waits no more", 5)
        busy.execute("COMMIT")
    wait_until(lambda: at_rest(proxy), "all is at rest")
    assert not unended(proxy)


def test_the_greeting_cannot_be_delivered(make_proxy):
    """The session is over before it has begun, and that is on record."""
    proxy = make_proxy({"tiers": {"int": {"pool": {"min": 0, "max": 1}}}})
    for _ in range(20):
        wire = proxy.wire()
        wire.send(w.startup_packet({"user": "app", "database": "app:int"}))
        wire.receive()
        client = scram.Client(USERS["app"][1])
        first = client.first()
        wire.send(w.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        wire.send(w.message("p", client.final(wire.receive().body[4:])))
        go(wire, "reset")
    wait_until(lambda: at_rest(proxy), "all is at rest")
    with proxy.connect("app", "int"):
        pass
    wait_until(lambda: not unended(proxy), "every session's end is on record")
