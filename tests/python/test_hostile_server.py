"""A server that breaks the protocol: the proxy neither falls nor hangs, tells its client in good form, and never uses that connection again."""

import struct

import pytest

from support import fake_postgres as fake
from support import wire as w
from support.fake_postgres import READY, FakePostgres, complete
from support.sessions import rows, status
from support.wire import kinds, message

pytestmark = pytest.mark.needs_proxy

ROW = message("D", struct.pack("!hi", 1, 2) + b"ok")
COLUMN = message("T", struct.pack("!h", 1) + b"a\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
GOOD = COLUMN + ROW + complete(b"SELECT 1") + READY


@pytest.fixture
def upstream(make_proxy):
    """Makes a proxy in front of a server that answers so."""
    servers = []

    def make(answers=(), login=None, password="secret"):
        server = FakePostgres(answers, login, {"SELECT 'good'": GOOD})
        servers.append(server)
        target = {"url": f"postgres://app@127.0.0.1:{server.port}/app?sslmode=disable", "password_env": "TEST_UPSTREAM_PASSWORD"}
        config = {"databases": {"app": {"int": target, "stg": target, "prod": target}},
                  "tiers": {"int": {"pool": {"min": 0, "max": 3, "wait": "2s"}}}}
        proxy = make_proxy(config, start=False)
        proxy.environment["TEST_UPSTREAM_PASSWORD"] = password
        return server, proxy.start(wait_for="/healthz")

    yield make
    for server in servers:
        server.__exit__()


def assert_still_served(proxy):
    """A new session works."""
    with proxy.wire_login("app", "int") as wire:
        assert rows(wire.simple("SELECT 'good'")) == [["ok"]]


@pytest.mark.parametrize("fields, message_text", [
    ({"S": "ERROR", "M": "no code"}, "no code"),
    ({"S": "ERROR", "C": "", "M": "empty code"}, "empty code"),
    ({"M": "only a message"}, "only a message"),
    ({}, None),
], ids=str)
def test_error_without_sqlstate(upstream, fields, message_text):
    """The client gets what it relies on: severity, SQLSTATE and message, and its session goes on."""
    _, proxy = upstream([("SELECT 'odd'", fake.error(**fields) + READY)])
    with proxy.wire_login("app", "int") as wire:
        answer = wire.simple("SELECT 'odd'")
        assert kinds(answer) == "EZ" and status(answer) == "I"
        got = answer[0].fields()
        assert got["S"] == got["V"] == "ERROR" and got["C"] == "XX000"
        assert got["M"] == message_text if message_text else got["M"]
        assert rows(wire.simple("SELECT 'good'")) == [["ok"]]


@pytest.mark.parametrize("answer", [
    complete(b"SELECT 1") + READY + READY,
    complete(b"SELECT 1") + READY + ROW,
    complete(b"SELECT 1") + READY + complete(b"DELETE 5"),
], ids=["ready twice", "a row too many", "an answer too many"])
def test_what_nobody_asked_for_is_never_the_next_sessions(upstream, answer):
    server, proxy = upstream([("SELECT 'odd'", answer)])
    with proxy.wire_login("app", "int") as wire:
        wire.send(w.query("SELECT 'odd'"))
        wire.until("Z", "E")
    for _ in range(3):
        assert_still_served(proxy)
    assert server.after_answer == [], "the connection was used again"


@pytest.mark.parametrize("answer", [
    struct.pack("!ci", b"D", -1),
    struct.pack("!ci", b"D", 3),
    struct.pack("!ci", b"C", -2147483648),
    struct.pack("!ci", b"T", 0),
    message("Z", b"?"),
    message("Z", b""),
    message("1"),
    message("v", b""),
    message("V", struct.pack("!i", -1))[:5] + b"\0\0\0\0" + message("R", struct.pack("!i", 0)),
    message("W", b"\0\0\0") + message("k", b""),
    b"\0" * 64,
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
], ids=lambda data: data[:12].hex())
def test_broken_messages_are_an_error_and_the_connection_is_closed(upstream, answer):
    server, proxy = upstream([("SELECT 'odd'", answer)])
    with proxy.wire_login("app", "int") as wire:
        wire.send(w.query("SELECT 'odd'"))
        messages = wire.until("Z", "E")
        assert w.errors(messages) == ["08006"], messages
    assert_still_served(proxy)
    assert server.after_answer == [], "the connection was used again"


def test_announced_length_of_the_server_is_not_allocated(upstream):
    """Rows pass through in pieces; what has to be understood whole may not be endless."""
    _, proxy = upstream([("SELECT 'notice'", struct.pack("!ci", b"N", 0x7FFFFFF0) + b"SERROR\0" + b"x" * 100_000),
                         ("SELECT 'error'", struct.pack("!ci", b"E", 0x7FFFFFF0) + b"SERROR\0" + b"x" * 100_000),
                         ("SELECT 'row'", COLUMN + struct.pack("!ci", b"D", 0x7FFFFFF0) + b"x" * 100_000)])
    assert_still_served(proxy)
    before = proxy.rss_kib()
    for text in ("notice", "error"):
        with proxy.wire_login("app", "int") as wire:
            wire.send(w.query(f"SELECT '{text}'"))
            assert w.errors(wire.until("Z", "E")) == ["08006"]
    with proxy.wire_login("app", "int") as wire:
        wire.send(w.query("SELECT 'row'"))
        wire.exactly(len(COLUMN) + 5 + 50_000)
    assert proxy.rss_kib() - before < 20_000
    assert_still_served(proxy)


# --- logging in ---

SERVER_FIRST = "r={nonce},s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"


def scram(server_first, final=b"v=" + b"A" * 43 + b"="):
    """A login by SCRAM in which the server's first message is made from the client's nonce."""
    def login(conn):
        conn.send(fake.sasl(10, b"SCRAM-SHA-256\0\0"))
        _, body = conn.receive()
        nonce = body.split(b"r=", 1)[1].decode()
        conn.send(fake.sasl(11, server_first(nonce).encode()))
        conn.receive()
        conn.send(fake.sasl(12, final), fake.AUTHENTICATED, fake.PARAMETERS, fake.KEY, READY)
    return login


@pytest.mark.parametrize("login", [
    scram(lambda nonce: SERVER_FIRST.format(nonce=nonce + "x" * 60_000)),
    scram(lambda nonce: SERVER_FIRST.format(nonce=nonce + "x" * 200_000)),
    scram(lambda nonce: SERVER_FIRST.format(nonce="another")),
    scram(lambda nonce: SERVER_FIRST.format(nonce="")),
    scram(lambda nonce: f"r={nonce}srv,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4294967295"),
    scram(lambda nonce: f"r={nonce}srv,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=0"),
    scram(lambda nonce: f"r={nonce}srv,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=-1"),
    scram(lambda nonce: f"r={nonce}srv,s=!!!,i=4096"),
    scram(lambda nonce: ""),
    scram(lambda nonce: f"r={nonce}srv"),
    scram(lambda nonce: SERVER_FIRST.format(nonce=nonce + "srv")),
    scram(lambda nonce: SERVER_FIRST.format(nonce=nonce + "srv"), b"e=other-error"),
    scram(lambda nonce: SERVER_FIRST.format(nonce=nonce + "srv"), b""),
    lambda conn: conn.send(fake.sasl(10, b"SCRAM-SHA-512\0\0")),
    lambda conn: conn.send(fake.sasl(10, b"")),
    lambda conn: conn.send(fake.sasl(11, b"r=x")),
    lambda conn: conn.send(message("R", b"\0\0")),
    lambda conn: conn.send(message("R", struct.pack("!i", 3))),
    lambda conn: conn.send(message("R", struct.pack("!i", 5) + b"ab")),
    lambda conn: conn.send(message("R", struct.pack("!i", 7))),
    lambda conn: conn.send(struct.pack("!ci", b"R", -1)),
    lambda conn: conn.send(struct.pack("!ci", b"R", 0x7FFFFFF0) + b"\0\0\0\x0a"),
    lambda conn: conn.send(fake.AUTHENTICATED, message("K", b"\0")),
    lambda conn: conn.send(fake.error()),
    lambda conn: conn.send(fake.error(S="FATAL", M="no code")),
    lambda conn: conn.send(READY),
    lambda conn: None if conn.sock.close() else None,
], ids=["long nonce", "longer nonce", "another nonce", "no nonce", "endless iterations", "no iterations", "negative iterations", "salt",
        "empty", "half", "does not prove itself", "error in the proof", "no proof", "other mechanism", "no mechanism", "challenge first",
        "short request", "password in clear", "short md5 salt", "gss", "negative length", "endless length", "short key", "empty error",
        "error without sqlstate", "no authentication", "closes"])
def test_login_of_a_hostile_server_fails_at_once(upstream, login):
    """CVE-2026-6664 to 6666 of PgBouncer and their kin, from the server's side. The client is told, and told nothing of the server."""
    server, proxy = upstream(login=login)
    with proxy.wire(timeout=10) as wire:
        wire.send(w.startup_packet({"user": "app", "database": "app:int"}))
        messages = wire.authenticate("app-clear-51ad")
        codes = w.errors(messages)
        assert len(codes) == 1 and codes[0] in ("08006", "08001", "53300", "57P03"), messages
        text = " ".join(messages[-1].fields().values())
        assert str(server.port) not in text and "127.0.0.1" not in text and "secret" not in text
    assert proxy.process.poll() is None


def test_plain_text_behind_the_servers_answer_to_ssl_request(make_proxy):
    """CVE-2021-23222: what comes before the handshake is never read as if it had come through TLS."""
    import socket
    import threading
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    sock.recv(8)
                    sock.sendall(b"S" + fake.AUTHENTICATED + fake.PARAMETERS + fake.KEY + READY)
                    sock.recv(4096)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        target = {"url": f"postgres://app@127.0.0.1:{port}/app?sslmode=require", "password_env": "TEST_UPSTREAM_PASSWORD"}
        proxy = make_proxy({"databases": {"app": {"int": target}}, "tiers": {"int": {"pool": {"min": 0, "max": 3, "wait": "2s"}}}}, start=False)
        proxy.start(wait_for="/healthz")
        with proxy.wire(timeout=10) as wire:
            wire.send(w.startup_packet({"user": "app", "database": "app:int"}))
            assert w.errors(wire.authenticate("app-clear-51ad")) == ["08001"]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
