"""TLS towards clients and towards the server, with certificates of `pgbelay certs`."""

import os
import pwd
import shutil
import ssl
import struct

import psycopg
import pytest

from support import wire as w
from support.ports import wait_until
from support.proxy import USERS, certificates
from support.wire import packet, startup_packet

pytestmark = pytest.mark.needs_proxy

PASSWORD = USERS["app"][1]
APP = {"user": "app", "database": "app:int"}


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certs") / "pki")


@pytest.fixture(scope="module")
def other_certs(tmp_path_factory):
    """Of a CA that nobody trusts."""
    return certificates(tmp_path_factory.mktemp("other") / "pki")


def tls_table(certs, **extra):
    return {"listen": {"tls": {"cert": str(certs / "server.pem"), "key": str(certs / "server-key.pem"), **extra}}}


@pytest.fixture(scope="module")
def required(certs, make_module_proxy):
    """Takes TLS only, and client certificates."""
    return make_module_proxy(tls_table(certs, required=True, client_ca=str(certs / "ca.pem")))


@pytest.fixture(scope="module")
def optional(certs, make_module_proxy):
    """Offers TLS."""
    return make_module_proxy(tls_table(certs, required=False))


def connect(proxy, certs, **extra):
    """By name, the certificate checked."""
    extra = {"host": "localhost", "hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": str(certs / "ca.pem"),
             # libpq would look for a certificate in the home directory.
             "sslcert": "/nonexistent"} | extra
    return proxy.connect("app", "int", **extra)


def test_verify_full(required, certs):
    with connect(required, certs) as conn:
        assert conn.pgconn.ssl_in_use
        assert conn.execute("SELECT 1").fetchone() == (1,)
    record = required.wait_record("session.start", user="app")
    assert record["tls"].startswith("TLSv1.3"), record


def test_the_certificate_is_checked(required, certs, other_certs):
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(required, other_certs)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        connect(required, certs, host="elsewhere.example")


@pytest.mark.parametrize("sslnegotiation", ["postgres", "direct"])
def test_negotiation(required, certs, sslnegotiation):
    with connect(required, certs, sslnegotiation=sslnegotiation) as conn:
        assert conn.pgconn.ssl_in_use
        assert conn.execute("SELECT repeat('x', 1000000)").fetchone() == ("x" * 1_000_000,)


def test_plain_tcp_is_refused_where_tls_is_required(required):
    with pytest.raises(psycopg.OperationalError, match="encrypt|TLS|SSL"):
        required.connect("app", "int", sslmode="disable")
    with required.wire() as wire:
        wire.send(startup_packet(APP))
        messages = wire.rest()
        assert w.errors(messages) == ["28000"]
        assert messages[0].fields()["H"]


def test_both_where_tls_is_offered(optional):
    for sslmode, in_use in (("disable", False), ("prefer", True), ("require", True)):
        with optional.connect("app", "int", sslmode=sslmode, sslcert="/nonexistent") as conn:
            assert bool(conn.pgconn.ssl_in_use) == in_use


def test_client_certificate(required, certs, other_certs):
    with connect(required, certs, sslcert=str(certs / "client.pem"), sslkey=str(certs / "client-key.pem")) as conn:
        conn.execute("SELECT 1")
    required.wait_record("session.start", lambda r: "client" in r.get("tls", ""))
    with pytest.raises(psycopg.OperationalError):
        connect(required, certs, sslcert=str(other_certs / "client.pem"), sslkey=str(other_certs / "client-key.pem"))


def test_cancel_over_tls(required, certs):
    with connect(required, certs) as conn:
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.pgconn.send_query(b"SELECT pg_sleep(20)")
            while conn.pgconn.is_busy():
                conn.cancel_safe()
                conn.pgconn.consume_input()
            result = conn.pgconn.get_result()
            while conn.pgconn.get_result():
                pass
            raise psycopg.errors.lookup(result.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(required, certs, version):
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    context.minimum_version = context.maximum_version = version
    with required.wire() as wire:
        wire.send(packet(w.SSL))
        assert wire.exactly(1) == b"S"
        wire.start_tls(context)
        wire.login(APP, PASSWORD)
        assert w.kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(required):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with required.wire() as wire:
        wire.send(packet(w.SSL))
        assert wire.exactly(1) == b"S"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            wire.start_tls(context)


def test_direct_tls_needs_the_protocol_name(required, certs):
    """ALPN `postgresql` (Postgres documentation, "SSL Session Encryption"): otherwise another protocol's bytes could be taken for ours."""
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    context.set_alpn_protocols(["postgresql"])
    with required.wire() as wire:
        wire.start_tls(context)
        assert wire.sock.selected_alpn_protocol() == "postgresql"
        wire.login(APP, PASSWORD)
    without = ssl.create_default_context(cafile=certs / "ca.pem")
    with required.wire() as wire:
        with pytest.raises((ssl.SSLError, ConnectionError, w.Closed, AssertionError)):
            wire.start_tls(without)
            wire.login(APP, PASSWORD)


@pytest.mark.parametrize("smuggled", [startup_packet(APP), packet(w.SSL), b"x", w.query("SELECT 1")])
def test_bytes_behind_ssl_request_are_refused(required, optional, smuggled):
    """CVE-2021-23214: what was sent before the handshake must not be read as if it had come through TLS."""
    for proxy in (required, optional):
        with proxy.wire() as wire:
            wire.send(packet(w.SSL), smuggled)
            answer = b""
            try:
                while True:
                    answer += wire.exactly(1)
            except w.Closed:
                pass
            # At most the S, a TLS alert (which begins with 0x15) or an error: never a request to authenticate.
            assert answer[:1] in (b"", b"S", b"E", b"\x15"), answer
            assert answer[1:2] in (b"", b"E", b"\x15") or answer[:1] != b"S", answer


def test_ssl_request_inside_tls_is_refused(required):
    with required.wire() as wire:
        wire.send(packet(w.SSL))
        assert wire.exactly(1) == b"S"
        wire.start_tls()
        wire.send(packet(w.SSL))
        messages = wire.rest()
        assert [m.kind for m in messages] in ([], ["E"])


def test_garbage_instead_of_a_handshake(required, certs):
    for garbage in (b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"\xab" * 200, struct.pack("!ii", 8, w.SSL), os.urandom(500)):
        with required.wire(timeout=10) as wire:
            wire.send(packet(w.SSL))
            assert wire.exactly(1) == b"S"
            wire.send(garbage)
            wire.end()
            try:
                while True:
                    wire.exactly(1)
            except w.Closed:
                pass
    with connect(required, certs) as conn:
        conn.execute("SELECT 1")


def test_certificates_are_read_again_on_reload(certs, other_certs, make_proxy):
    proxy = make_proxy(tls_table(certs, required=True))
    with connect(proxy, certs) as conn:
        assert proxy.reload(tls_table(other_certs, required=True))["event"] == "config.reload"
        with connect(proxy, other_certs) as renewed:
            renewed.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            connect(proxy, certs)
        assert conn.execute("SELECT 1").fetchone() == (1,)


# --- towards the server ---


def upstream(cluster, sslmode, host="localhost", ca=None):
    url = f"postgres://app@{host}:{cluster.port}/app_int?sslmode={sslmode}"
    return {"databases": {"app": {"int": {"url": url, "ca": str(ca) if ca else None}}}}


def assert_cannot_connect(proxy):
    """The client is told, at login or with its first statement."""
    with proxy.wire() as wire:
        wire.send(startup_packet(APP))
        messages = wire.authenticate(PASSWORD)
        if messages[-1].kind == "Z":
            messages = wire.simple("SELECT 1")
        assert w.errors(messages) == ["08001"]
        assert [m for m in messages if m.kind == "E"][0].fields()["H"]


def test_upstream_without_tls_where_it_is_required(cluster, make_proxy):
    """Must stand before the tests that switch the cluster's TLS on."""
    proxy = make_proxy(upstream(cluster, "require"), start=False)
    proxy.start(wait_for="/healthz")
    assert_cannot_connect(proxy)
    with proxy.connect("app", "stg") as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture(scope="module")
def server_tls(cluster, certs):
    """Switches the cluster's TLS on for the module; yields the folder with its CA."""
    for name in ("server.pem", "server-key.pem"):
        target = cluster.data / name
        shutil.copy(certs / name, target)
        target.chmod(0o600)
        if cluster.identity:
            account = pwd.getpwnam("postgres")
            os.chown(target, account.pw_uid, account.pw_gid)
    with cluster.admin() as conn:
        for setting in ("ssl_cert_file = 'server.pem'", "ssl_key_file = 'server-key.pem'", "ssl = on"):
            conn.execute(f"ALTER SYSTEM SET {setting}")
        conn.execute("SELECT pg_reload_conf()")
    wait_until(lambda: _server_has_tls(cluster), "the server speaks TLS")
    yield certs
    with cluster.admin() as conn:
        conn.execute("ALTER SYSTEM RESET ALL")
        conn.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not _server_has_tls(cluster), "the server speaks no TLS")


def _server_has_tls(cluster):
    with w.Wire(cluster.host, cluster.port) as wire:
        wire.send(packet(w.SSL))
        return wire.exactly(1) == b"S"


@pytest.mark.parametrize("sslmode, expected", [("disable", False), ("prefer", True), ("require", True), ("verify-ca", True),
                                               ("verify-full", True)])
def test_upstream_modes(cluster, server_tls, make_proxy, sslmode, expected):
    ca = server_tls / "ca.pem" if sslmode.startswith("verify") else None
    proxy = make_proxy(upstream(cluster, sslmode, ca=ca))
    with proxy.connect("app", "int") as conn:
        assert conn.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (expected,)
        assert conn.execute("SELECT length(repeat('x', 5000000))").fetchone() == (5_000_000,)


@pytest.mark.parametrize("wrong", ["ca", "host"])
def test_upstream_that_is_not_the_right_one(cluster, server_tls, other_certs, make_proxy, wrong, tmp_path):
    """The client gets a clear error; the password has not been sent."""
    if wrong == "ca":
        change = upstream(cluster, "verify-full", ca=other_certs / "ca.pem")
    else:
        # Resolves to 127.0.0.1, and is not a name in the certificate.
        change = upstream(cluster, "verify-full", host="127.1", ca=server_tls / "ca.pem")
    proxy = make_proxy(change, start=False)
    proxy.start(wait_for="/healthz")
    assert_cannot_connect(proxy)
