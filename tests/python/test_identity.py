"""Who a client is: certificates, channel binding, limits of users and databases, pauses after failed logins."""

import concurrent.futures
import struct
import subprocess
import time

import psycopg
import pytest

from support import scram
from support import wire as w
from support.pki import Authority
from support.ports import wait_until
from support.proxy import USERS
from support.wire import packet, startup_packet

pytestmark = pytest.mark.needs_proxy

PSQL = "/usr/lib/postgresql/15/bin/psql"
ALICE = USERS["alice"][1]
EXPIRED = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("identity"))
    authority.certificate("server", san="DNS:localhost,IP:127.0.0.1")
    return authority


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that the proxy does not know."""
    return Authority(tmp_path_factory.mktemp("stranger"), "another CA")


def tls(ca, server="server", **extra):
    return {"listen": {"tls": {"cert": str(ca.folder / f"{server}.pem"), "key": str(ca.folder / f"{server}-key.pem"),
                               "client_ca": str(ca.ca), "required": False, **extra}}}


@pytest.fixture(scope="module")
def guarded(ca, make_module_proxy):
    """alice by certificate alone, ci by a name of subjectAltName, ann by certificate and password."""
    proxy = make_module_proxy(tls(ca), start=False)
    proxy.config["users"] |= {
        "alice": {"role": "engineer", "clientcert": "CN=alice"},
        "ci": {"role": "service", "clientcert": ["URI=spiffe://example.org/ci", "DNS=ci.example.org", "EMAIL=ci@example.org"]},
        "ann": proxy.config["users"]["ann"] | {"clientcert": "CN=ann"},
    }
    proxy.write_config()
    return proxy.start()


def connect(proxy, ca, user, cert=None, **extra):
    """By name, the server's certificate checked; with a client certificate or none."""
    return proxy.connect(user, "int", host="localhost", hostaddr="127.0.0.1", sslmode="verify-full",
                         sslrootcert=str(ca.ca), **(cert or {"sslcert": "/nonexistent"}), **extra)


def refused(proxy, ca, user, cert=None, **extra):
    """The message of a login that must fail."""
    with pytest.raises(psycopg.OperationalError) as failure:
        connect(proxy, ca, user, cert, **extra)
    return str(failure.value)


# --- client certificates ---


def test_certificate_alone(guarded, ca):
    """No password is asked for; the trail knows the certificate."""
    with connect(guarded, ca, "alice", ca.certificate("alice"), password=None, require_auth="none") as conn:
        assert conn.execute("SHOW pgbelay.tier").fetchone() == ("int",)
    record = guarded.wait_record("session.start", user="alice")
    assert record["tls"].startswith("TLSv1.3, client certificate CN=alice, serial 10"), record


def test_psql_with_a_certificate(guarded, ca):
    cert = ca.certificate("psql-alice", subject="/CN=alice")
    done = subprocess.run([PSQL, "-XAtw", "-c", "SELECT 1", f"host=localhost hostaddr=127.0.0.1 port={guarded.port} user=alice "
                           f"dbname=app:int sslmode=verify-full sslrootcert={ca.ca} sslcert={cert['sslcert']} "
                           f"sslkey={cert['sslkey']}"], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize("san", ["URI:spiffe://example.org/ci", "DNS:CI.example.org", "email:ci@example.org",
                                 "DNS:other,DNS:ci.example.org"])
def test_names_of_subject_alt_name(guarded, ca, san):
    cert = ca.certificate("ci-" + "".join(filter(str.isalnum, san)), subject="/CN=whatever", san=san)
    with connect(guarded, ca, "ci", cert, password=None) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("subject, san", [
    ("/CN=bob", None), ("/CN=Alice", None), ("/CN=alice.example.org", None), ("/CN=bob/CN=alice", None),
    ("/CN=alice/CN=bob", None), ("/CN=bob", "DNS:alice"), ("/CN=bob", "email:alice"),
])
def test_the_certificate_of_somebody_else(guarded, ca, subject, san):
    cert = ca.certificate("else", subject=subject, san=san)
    message = refused(guarded, ca, "alice", cert)
    assert 'certificate authentication failed for user "alice"' in message and "The client's certificate is for" in message
    record = guarded.wait_record("auth.fail", lambda r: "not CN=alice" in r["message"], user="alice")
    assert record["sqlstate"] == "28000" and "client certificate" in record["tls"]


def test_a_wildcard_is_nobody_elses_name(guarded, ca):
    cert = ca.certificate("wildcard", subject="/CN=x", san="DNS:*.example.org")
    assert "certificate authentication failed" in refused(guarded, ca, "ci", cert)


def test_no_certificate(guarded, ca):
    for extra in ({}, {"sslmode": "disable"}):
        with pytest.raises(psycopg.OperationalError, match="requires a valid client certificate for user \"alice\""):
            guarded.connect("alice", "int", **({"sslmode": "require", "sslcert": "/nonexistent"} | extra))
    record = guarded.wait_record("auth.fail", lambda r: "no client certificate" in r["message"], user="alice")
    assert record["sqlstate"] == "28000"


def test_certificates_that_are_not_valid(guarded, ca, stranger, tmp_path):
    """The handshake fails, and the trail says why: nobody has said yet who it is."""
    before = len(guarded.records("auth.fail"))
    expired = ca.certificate("expired", subject="/CN=alice", valid=EXPIRED)
    foreign = stranger.certificate("foreign", subject="/CN=alice")
    assert "expired" in refused(guarded, ca, "alice", expired)
    assert "unknown ca" in refused(guarded, ca, "alice", foreign)
    # An authority that only calls itself as the known one does.
    forged = Authority(tmp_path).certificate("forged", subject="/CN=alice")
    assert "decrypt error" in refused(guarded, ca, "alice", forged)
    records = wait_until(lambda: r if len(r := guarded.records("auth.fail")[before:]) >= 3 else None, "all are recorded")
    for record, why in zip(records, ("expired", "UnknownIssuer", "BadSignature")):
        assert why in record["message"], records
    assert all(r["sqlstate"] == "28000" and r["client"].startswith("127.0.0.1:") for r in records)
    assert all("client certificate refused" in r["message"] for r in records)


def test_a_certificate_and_a_password(guarded, ca):
    cert = ca.certificate("ann")
    with connect(guarded, ca, "ann", cert) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert "password authentication failed" in refused(guarded, ca, "ann", cert, password="wrong")
    assert "requires a valid client certificate" in refused(guarded, ca, "ann")
    assert "certificate authentication failed" in refused(guarded, ca, "ann", ca.certificate("ann2"))
    # Without the password nobody learns that a certificate is asked for.
    assert "password authentication failed" in refused(guarded, ca, "ann", password="wrong")


def test_users_without_clientcert_need_none_and_may_show_one(guarded, ca):
    for cert in (None, ca.certificate("app-one", subject="/CN=somebody")):
        with connect(guarded, ca, "app", cert) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
    with guarded.connect("app", "int", sslmode="disable") as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    # A certificate is no password.
    assert "password authentication failed" in refused(guarded, ca, "app", ca.certificate("app-two", subject="/CN=app"),
                                                       password="wrong")


def test_a_revoked_certificate(ca, make_proxy):
    good, bad = ca.certificate("keeps"), ca.certificate("loses", subject="/CN=keeps")
    crl = ca.revoke("loses")
    proxy = make_proxy(tls(ca, client_crl=str(crl)) | {"users": {"keeps": {"role": "service", "clientcert": "CN=keeps"}}})
    with connect(proxy, ca, "keeps", good) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert "revoked" in refused(proxy, ca, "keeps", bad)
        assert "evoked" in proxy.wait_record("auth.fail")["message"]
        # The list is read again, and sessions that are there live on.
        ca.revoke("keeps")
        proxy.reload()
        assert "revoked" in refused(proxy, ca, "keeps", good)
        assert conn.execute("SELECT 2").fetchone() == (2,)


# --- channel binding ---


@pytest.mark.parametrize("server, key, digest", [
    ("server", None, None), ("rsa384", ("rsa:2048",), "sha384"), ("ec512", ("ec", "ec_paramgen_curve:secp384r1"), "sha512"),
])
def test_channel_binding(ca, make_proxy, server, key, digest):
    """libpq computes the same hash of each kind of certificate."""
    if key:
        ca.certificate(server, subject="/CN=localhost", san="DNS:localhost", key=key, digest=digest)
    proxy = make_proxy(tls(ca, server))
    for binding in ("require", "prefer", "disable"):
        with connect(proxy, ca, "alice", channel_binding=binding) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
    assert "password authentication failed" in refused(proxy, ca, "alice", channel_binding="require", password="wrong")
    done = subprocess.run([PSQL, "-XAtw", "-c", "SELECT 1", f"host=localhost hostaddr=127.0.0.1 port={proxy.port} user=alice "
                           f"password={ALICE} dbname=app:int sslmode=verify-full sslrootcert={ca.ca} channel_binding=require"],
                          capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "1", done.stderr


def test_channel_binding_after_a_change_of_certificate(ca, make_proxy):
    proxy = make_proxy(tls(ca))
    connect(proxy, ca, "alice", channel_binding="require").close()
    ca.certificate("renewed", san="DNS:localhost")
    proxy.reload(tls(ca, "renewed"))
    connect(proxy, ca, "alice", channel_binding="require").close()


def test_without_tls_there_is_nothing_to_bind_to(guarded):
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        guarded.connect("app", "int", sslmode="disable", channel_binding="require")


def sasl(proxy, first, mechanism=b"SCRAM-SHA-256", over_tls=True):
    """The mechanisms offered, and the answer to a client-first message of one's own."""
    with proxy.wire() as wire:
        if over_tls:
            wire.send(packet(w.SSL))
            assert wire.exactly(1) == b"S"
            wire.start_tls()
        wire.send(startup_packet({"user": "app", "database": "app:int"}))
        offered = wire.receive().body[4:].rstrip(b"\0").split(b"\0")
        wire.send(w.message("p", mechanism + b"\0" + struct.pack("!i", len(first)) + first))
        return offered, wire.receive()


def test_a_downgrade_is_noticed(guarded):
    """A client that says 'y' was told that the server has no channel binding: a man in the middle took it out of the list."""
    offered, answer = sasl(guarded, b"y,,n=,r=abcdefghijkl")
    assert offered == [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"]
    error = answer.fields()
    assert (error["C"], error["M"]) == ("28000", "SCRAM channel binding negotiation error") and error["D"] and error["H"]
    record = guarded.wait_record("auth.fail", lambda r: "channel binding negotiation" in r["message"], user="app")
    assert record["sqlstate"] == "28000"
    # Without TLS the client is right.
    offered, answer = sasl(guarded, b"y,,n=,r=abcdefghijkl", over_tls=False)
    assert offered == [b"SCRAM-SHA-256"] and answer.kind == "R"


def test_a_login_bound_to_another_certificate_is_refused(guarded):
    """What a man in the middle with a certificate of its own would pass on."""
    with guarded.wire() as wire:
        wire.send(packet(w.SSL))
        assert wire.exactly(1) == b"S"
        wire.start_tls()
        wire.send(startup_packet({"user": "app", "database": "app:int"}))
        wire.receive()
        client = scram.Client(USERS["app"][1], binding=b"x" * 32)
        first = client.first()
        wire.send(w.message("p", b"SCRAM-SHA-256-PLUS\0" + struct.pack("!i", len(first)) + first))
        wire.send(w.message("p", client.final(wire.receive().body[4:])))
        error = wire.receive().fields()
        assert (error["C"], error["M"]) == ("28000", "SCRAM channel binding check failed")


@pytest.mark.parametrize("first, mechanism, over_tls", [
    (b"n,,n=,r=abcdefghijkl", b"SCRAM-SHA-256-PLUS", True),
    (b"p=tls-unique,,n=,r=abcdefghijkl", b"SCRAM-SHA-256-PLUS", True),
    (b"p=tls-server-end-point,,n=,r=abcdefghijkl", b"SCRAM-SHA-256", True),
    (b"p=tls-server-end-point,,n=,r=abcdefghijkl", b"SCRAM-SHA-256-PLUS", False),
    (b"n,,n=,r=abcdefghijkl", b"PLAIN", True),
    (b"", b"SCRAM-SHA-256", False),
])
def test_messages_that_do_not_fit_the_mechanism(guarded, first, mechanism, over_tls):
    assert sasl(guarded, first, mechanism, over_tls)[1].sqlstate == "08P01"


# --- limits of users and databases ---


def test_connections_of_a_user(make_proxy):
    proxy = make_proxy({"users": {"app": {"max_connections": 3}}})
    held = [proxy.connect("app", tier) for tier in ("int", "stg", "prod")]
    with pytest.raises(psycopg.OperationalError, match='too many connections for user "app"') as failure:
        proxy.connect("app", "int")
    assert "max_connections allows 3" in str(failure.value)
    assert proxy.wait_record("auth.fail", user="app")["sqlstate"] == "53300"
    # Others are not concerned, nor are cancels; and a place is free again at once.
    proxy.connect("alice", "int").close()
    held.pop().close()
    held.append(wait_until(lambda: try_connect(proxy, "app"), "a place is free"))
    # A limit that is raised holds at once; one that is lowered ends nobody.
    proxy.reload({"users": {"app": {"max_connections": 4}}})
    held.append(proxy.connect("app", "int"))
    proxy.reload({"users": {"app": {"max_connections": 1}}})
    assert all(conn.execute("SELECT 1").fetchone() == (1,) for conn in held)
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        proxy.connect("app", "int")
    for conn in held:
        conn.close()
    wait_until(lambda: try_connect(proxy, "app"), "all places are free").close()


def test_connections_of_a_database(make_proxy):
    proxy = make_proxy({"databases": {"app": {"stg": {"max_connections": 2}}}})
    held = [proxy.connect("app", "stg"), proxy.connect("alice", "stg")]
    with pytest.raises(psycopg.OperationalError, match='too many connections for database "app:stg"'):
        proxy.connect("bot", "stg")
    proxy.connect("bot", "int").close()
    for conn in held:
        conn.close()
    wait_until(lambda: try_connect(proxy, "bot", "stg"), "the places are free").close()


def test_logins_at_once_do_not_pass_the_limit(make_proxy):
    proxy = make_proxy({"users": {"app": {"max_connections": 5}}})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        conns = [conn for conn in pool.map(lambda _: try_connect(proxy, "app"), range(20)) if conn]
    assert len(conns) == 5
    for conn in conns:
        conn.close()


def try_connect(proxy, user, tier="int"):
    try:
        return proxy.connect(user, tier)
    except psycopg.OperationalError as error:
        assert "too many connections" in str(error)
        return None


# --- failed logins ---


def attempt(proxy, user, password):
    """Seconds until a login is answered, and whether it succeeded."""
    began = time.monotonic()
    try:
        proxy.connect(user, "int", password=password).close()
        succeeded = True
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)
        succeeded = False
    return time.monotonic() - began, succeeded


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_failed_logins_take_longer_and_longer(make_proxy, user):
    """Whether the user exists or not."""
    proxy = make_proxy({"listen": {"failed_login_delay": "800ms"}})
    times = [attempt(proxy, user, "wrong")[0] for _ in range(5)]
    for pause, taken in zip((0.1, 0.2, 0.4, 0.8, 0.8), times):
        assert taken >= pause, times
    # Nobody else waits, even now.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(attempt, proxy, user, "wrong")
        taken, succeeded = attempt(proxy, "app", USERS["app"][1])
        assert succeeded and taken < 0.7
        assert slow.result()[0] >= 0.8


def test_the_right_password_waits_once_and_is_forgiven(make_proxy):
    proxy = make_proxy({"listen": {"failed_login_delay": "1s"}})
    for _ in range(5):
        attempt(proxy, "alice", "wrong")
    taken, succeeded = attempt(proxy, "alice", ALICE)
    assert succeeded and taken >= 1
    taken, succeeded = attempt(proxy, "alice", ALICE)
    assert succeeded and taken < 0.9


def test_pauses_can_be_switched_off(make_proxy):
    proxy = make_proxy({"listen": {"failed_login_delay": "none"}})
    assert sum(attempt(proxy, "alice", "wrong")[0] for _ in range(6)) < 3


# --- an end of validity ---


def test_valid_until(make_proxy):
    """The password is right: so the client is told why it does not count any more."""
    proxy = valid_until(make_proxy, "2020-01-31")
    with pytest.raises(psycopg.OperationalError, match='the login of user "alice" has expired'):
        proxy.connect("alice", "int")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        proxy.connect("alice", "int", password="wrong")
    assert "2020-01-31" in proxy.wait_record("auth.fail", sqlstate="28000")["message"]
    valid_until(make_proxy, "2999-01-01T00:00:00+02:00").connect("alice", "int").close()


def valid_until(make_proxy, moment):
    """A proxy whose alice is valid until a TOML date."""
    proxy = make_proxy(start=False)
    text = proxy.config_file.read_text()
    proxy.config_file.write_text(text.replace("[users.alice]", f"[users.alice]\nvalid_until = {moment}"))
    return proxy.start()
