"""The first bytes of a connection, sent raw: SSLRequest, GSSENCRequest, versions, parameters, malformed packets, authentication order."""

import struct
import time

import pytest

from support import wire as w
from support.proxy import DIRECT, USERS
from support.scram import Client
from support.wire import Closed, Wire, packet, startup_packet

ALICE = ("alice", USERS["alice"][1])


def params(proxy, tier="int", **extra):
    """Start-up parameters of alice."""
    return {"user": "alice", "database": proxy.dbname("app", tier), "options": "-c pgbelay.reason=TEST-1"} | extra


def assert_works(proxy):
    """A fresh connection works."""
    with proxy.wire_login("alice") as wire:
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


def refused(wire):
    """What came until the server closed the connection: nothing but at most one error."""
    messages = wire.rest()
    assert w.kinds(messages) in ("", "E"), messages
    return messages


def test_ssl_request_without_tls_is_answered_n(proxy):
    with proxy.wire() as wire:
        wire.send(packet(w.SSL))
        assert wire.exactly(1) == b"N"
        wire.login(params(proxy), ALICE[1])
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.needs_proxy
def test_gssenc_request_is_answered_n(proxy):
    with proxy.wire() as wire:
        wire.send(packet(w.GSSENC))
        assert wire.exactly(1) == b"N"
        wire.login(params(proxy), ALICE[1])
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.needs_proxy
def test_gssenc_then_ssl_request(proxy):
    with proxy.wire() as wire:
        for code in (w.GSSENC, w.SSL):
            wire.send(packet(code))
            assert wire.exactly(1) == b"N"
        wire.login(params(proxy), ALICE[1])


def test_login_answers_like_postgres(proxy):
    with proxy.wire() as wire:
        messages = wire.login(params(proxy, application_name="raw"), ALICE[1])
        assert messages[-1].body == b"I"
        for name in ("server_version", "server_encoding", "client_encoding", "application_name", "is_superuser",
                     "session_authorization", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes",
                     "standard_conforming_strings", "default_transaction_read_only", "in_hot_standby"):
            assert name in wire.parameters, name
        assert wire.parameters["client_encoding"] == "UTF8"
        assert wire.parameters["application_name"] == "raw"
        assert wire.key is not None


def test_protocol_3_0_has_a_four_byte_cancel_key(proxy):
    with proxy.wire() as wire:
        messages = wire.login(params(proxy), ALICE[1])
        assert len(wire.key[1]) == 4
        assert "v" not in w.kinds(messages)


@pytest.mark.needs_proxy
def test_protocol_3_2_is_spoken(proxy):
    with proxy.wire() as wire:
        messages = wire.login(params(proxy), ALICE[1], w.V3_2)
        assert "v" not in w.kinds(messages)
        assert 4 <= len(wire.key[1]) <= 256
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("version, options, expected", [
    (0x0003_0000 | 9999, {}, []),
    (0x0003_0000 | 9999, {"_pq_.test_protocol_negotiation": ""}, [b"_pq_.test_protocol_negotiation"]),
    (0x0003_0000, {"_pq_.unknown": "1"}, [b"_pq_.unknown"]),
])
def test_unknown_minor_version_and_options_are_negotiated(proxy, version, options, expected):
    with proxy.wire() as wire:
        wire.send(startup_packet(params(proxy, **options), version))
        answer = wire.receive()
        assert answer.kind == "v"
        newest, count = struct.unpack_from("!ii", answer.body)
        # libpq compares the whole version, not only the minor number.
        assert newest in ((0x30000,) if DIRECT else (0x30000, 0x30002))
        assert newest <= version
        assert answer.body[8:].split(b"\0")[:count] == expected
        messages = wire.authenticate(ALICE[1])
        assert messages[-1].kind == "Z"
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("version", [0x0002_0000, 0x0004_0000, 0x0001_0000, 0, 80877199])
def test_other_major_versions_are_refused(proxy, version):
    with proxy.wire() as wire:
        wire.send(startup_packet(params(proxy), version))
        messages = refused(wire)
        assert w.errors(messages) in (["0A000"], ["08P01"], []), messages
    assert_works(proxy)


@pytest.mark.needs_proxy
@pytest.mark.parametrize("value", ["true", "database", "on", "1", "yes"])
def test_replication_connections_are_refused(proxy, value):
    with proxy.wire() as wire:
        wire.send(startup_packet(params(proxy, replication=value)))
        messages = [m for m in wire.authenticate(ALICE[1]) if m.kind == "E"]
        assert w.errors(messages) == ["0A000"]
        assert "replication" in messages[0].fields()["M"]
        assert messages[0].fields()["H"]
        assert wire.is_closed()


def test_replication_off_is_an_ordinary_connection(proxy):
    with proxy.wire() as wire:
        wire.login(params(proxy, replication="false"), ALICE[1])
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("data", [
    struct.pack("!ii", 0, w.V3_0),
    struct.pack("!ii", 3, w.V3_0),
    struct.pack("!ii", 7, w.V3_0),
    struct.pack("!ii", -1, w.V3_0),
    struct.pack("!ii", -2147483648, w.V3_0),
    struct.pack("!ii", 2147483647, w.V3_0) + b"user\0",
    struct.pack("!ii", 100_000, w.V3_0) + b"x" * 100,
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
    packet(w.V3_0, b"user\0alice"),
    packet(w.V3_0, b"user\0alice\0database\0"),
    packet(w.V3_0, b"user\0alice\0\0trailing\0"),
    packet(w.V3_0, b""),
    packet(w.V3_0, b"\0"),
    packet(w.V3_0, b"\0\0\0"),
    packet(w.SSL, b"more"),
    packet(w.CANCEL, b""),
    packet(w.CANCEL, b"\0\0\0\x01"),
    packet(w.CANCEL, b"\0" * 1000),
], ids=lambda d: d[:16].hex())
def test_malformed_first_packets_end_the_connection(proxy, data):
    with proxy.wire(timeout=10) as wire:
        wire.send(data)
        # Some of them are prefixes of something longer: no more is coming.
        wire.end()
        messages = wire.rest()
        assert all(m.kind == "E" for m in messages if m.kind not in ("R",)), messages
    assert_works(proxy)


def test_terminate_instead_of_a_startup_packet_is_not_answered(proxy):
    """As a client sends that ends its connection while it is being made; an error would be one more than Postgres gives."""
    with proxy.wire(timeout=10) as wire:
        wire.send(b"X\0\0\0\4")
        assert wire.rest() == []


def test_missing_user_is_refused(proxy):
    with proxy.wire() as wire:
        wire.send(startup_packet({"database": proxy.dbname("app", "int")}))
        assert w.errors(refused(wire)) == ["28000"]


@pytest.mark.needs_proxy
def test_missing_database_means_the_user_name(proxy):
    with proxy.wire() as wire:
        wire.login({"user": "app"}, USERS["app"][1])
        answer = wire.simple("SELECT current_database()")
        assert [m.row() for m in answer if m.kind == "D"] == [["app_int"]]


@pytest.mark.parametrize("options", ["-c", "-c =", "-c=", "--", "-", "\\", "-c x", "-c\\", "  ", "-c a=b=c", "--=", "-z", "-c -c -c"])
def test_odd_options_are_answered_at_once(proxy, options):
    started = time.monotonic()
    with proxy.wire(timeout=10) as wire:
        wire.send(startup_packet(params(proxy, options=options)))
        messages = wire.authenticate(ALICE[1])
        assert messages[-1].kind in "EZ"
    assert time.monotonic() - started < 5
    assert_works(proxy)


@pytest.mark.parametrize("options, setting, value", [
    ("-c statement_timeout=5s", "statement_timeout", "5s"),
    ("-cstatement_timeout=5s", "statement_timeout", "5s"),
    ("--statement-timeout=5s", "statement_timeout", "5s"),
    ("--statement_timeout=5s", "statement_timeout", "5s"),
    ('-c search_path="a\\ b",public', "search_path", '"a b",public'),
    ("-c application_name=x -c DateStyle=German", "DateStyle", "German, DMY"),
])
def test_options_become_settings(proxy, options, setting, value):
    with proxy.wire() as wire:
        wire.login(params(proxy, options=options), ALICE[1])
        answer = wire.simple(f"SHOW {setting}")
        assert [m.row() for m in answer if m.kind == "D"] == [[value]]


def test_settings_as_startup_parameters(proxy):
    with proxy.wire() as wire:
        wire.login(params(proxy, DateStyle="German", work_mem="5MB"), ALICE[1])
        assert wire.parameters["DateStyle"] == "German, DMY"
        assert [m.row() for m in wire.simple("SHOW work_mem") if m.kind == "D"] == [["5MB"]]


def test_cancel_request_with_a_wrong_key_hits_nobody(proxy):
    with proxy.wire_login("alice") as busy:
        busy.send(w.query("SELECT pg_sleep(0.5)"))
        pid, key = busy.key
        wrong = bytes([key[0] ^ 1]) + key[1:]
        for body in (struct.pack("!i", pid) + wrong, struct.pack("!i", pid ^ 1) + key):
            with proxy.wire() as wire:
                wire.send(packet(w.CANCEL, body))
                assert wire.rest() == []
        assert w.kinds(busy.until()) == "TDCZ"


def test_cancel_request_with_the_right_key(proxy):
    with proxy.wire_login("alice") as busy:
        started = time.monotonic()
        busy.send(w.query("SELECT 1, pg_sleep(20)"))
        answer = []
        # The statement may not have reached the server when the first cancel does.
        while not answer:
            with proxy.wire() as wire:
                wire.send(packet(w.CANCEL, struct.pack("!i", busy.key[0]) + busy.key[1]))
                assert wire.rest() == []
            if not busy.silent(0.2):
                answer = busy.until()
        assert w.errors(answer) == ["57014"]
        assert time.monotonic() - started < 10
        assert w.kinds(busy.simple("SELECT 1")) == "TDCZ"


# --- authentication order ---


def _to_sasl(proxy):
    wire = proxy.wire()
    wire.send(startup_packet(params(proxy)))
    request = wire.receive()
    assert request.kind == "R" and request.body[:4] == struct.pack("!i", 10)
    return wire


@pytest.mark.parametrize("data", [
    startup_packet({"user": "mig", "database": "app"}),
    w.query("SELECT 1"),
    w.parse("SELECT 1") + w.SYNC,
    w.TERMINATE,
    w.message("p", b""),
    w.message("p", b"SCRAM-SHA-256\0"),
    w.message("p", b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
    w.message("p", b"SCRAM-SHA-256\0\x7f\xff\xff\xff"),
    w.message("p", b"MD5\0\0\0\0\x04abcd"),
    w.message("p", b"SCRAM-SHA-256-PLUS\0\0\0\0\x04p=tl"),
    w.message("p", b"SCRAM-SHA-256\0\0\0\0\x08n,,n=,r="),
    w.message("p", b"SCRAM-SHA-256\0\0\0\0\x05\xff\xfe\0\0\0"),
    struct.pack("!ci", b"p", 0x7FFFFFFF),
    struct.pack("!ci", b"p", -5),
    struct.pack("!ci", b"p", 3),
], ids=lambda d: d[:24].hex())
def test_only_a_sasl_response_is_taken_during_authentication(proxy, data):
    with _to_sasl(proxy) as wire:
        wire.send(data)
        wire.end()
        messages = wire.rest()
        assert all(m.kind in "ER" for m in messages), messages
        # Never AuthenticationOk.
        assert not [m for m in messages if m.kind == "R" and m.body[:4] == b"\0\0\0\0"], messages
    assert_works(proxy)


def test_second_startup_in_the_middle_of_scram(proxy):
    """The proof of one user must not log in another (PgBouncer's CVE of 2025)."""
    with _to_sasl(proxy) as wire:
        client = Client(ALICE[1])
        first = client.first()
        wire.send(w.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        answer = wire.receive()
        wire.send(startup_packet({"user": "mig", "database": proxy.dbname("app", "int")}),
                  w.message("p", client.final(answer.body[4:])))
        messages = wire.rest()
        assert all(m.kind == "E" for m in messages), messages
    assert_works(proxy)


def test_a_proof_is_good_for_one_exchange_only(proxy):
    """A recorded client-final-message does not log in again: the server's nonce differs."""
    client = Client(ALICE[1])
    first = client.first()
    recorded = None
    for turn in range(2):
        with _to_sasl(proxy) as wire:
            wire.send(w.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            challenge = wire.receive().body[4:]
            recorded = recorded or client.final(challenge)
            wire.send(w.message("p", recorded))
            answer = wire.receive()
            assert answer.kind == ("R" if turn == 0 else "E"), answer


def test_a_connection_that_says_nothing_does_not_block_others(proxy):
    idle = [Wire(proxy.host, proxy.port) for _ in range(20)]
    try:
        assert_works(proxy)
    finally:
        for wire in idle:
            wire.sock.close()


def test_startup_packet_in_small_pieces(proxy):
    with proxy.wire() as wire:
        for byte in startup_packet(params(proxy)):
            wire.send(bytes([byte]))
        assert wire.authenticate(ALICE[1])[-1].kind == "Z"


def test_closing_at_once_leaves_nothing_behind(proxy):
    for _ in range(30):
        wire = proxy.wire()
        wire.send(startup_packet(params(proxy))[:10])
        wire.sock.close()
    with pytest.raises((Closed, AssertionError)):
        with proxy.wire() as wire:
            wire.end()
            wire.receive()
    assert_works(proxy)


def test_a_name_that_is_too_long_is_cut_with_a_notice(proxy):
    with proxy.wire() as wire:
        messages = wire.login(params(proxy, application_name="x" * 65), ALICE[1])
        notices = [m for m in messages if m.kind == "N" and m.fields()["C"] == "42622"]
        assert [n.fields()["M"] for n in notices] == [f'identifier "{"x" * 65}" will be truncated to "{"x" * 63}"']
