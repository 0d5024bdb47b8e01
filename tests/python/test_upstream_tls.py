"""Towards the server: client certificates, channel binding, TLS from the first byte, and several hosts with names of their own."""

import os
import pwd
import shutil

import psycopg
import pytest

from support.cluster import Cluster
from support.ports import wait_until
from support.proxy import Proxy, certificates, command
from support.relay import Relay

pytestmark = pytest.mark.needs_proxy


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    """A CA, the server's certificate for localhost, and client certificates of `app` and `eve`."""
    return certificates(tmp_path_factory.mktemp("certs") / "c", "--client", "app", "--client", "eve")


@pytest.fixture(scope="module")
def impostor(tmp_path_factory):
    """Certificates of another CA."""
    return certificates(tmp_path_factory.mktemp("impostor") / "c")


@pytest.fixture(scope="module")
def server(certs):
    """TLS; `by_cert` takes the role's certificate and nothing else, the other databases a password."""
    cluster = Cluster()
    try:
        cluster.create_empty()
        for name in ("server.pem", "server-key.pem", "ca.pem"):
            target = cluster.data / name
            shutil.copy(certs / name, target)
            target.chmod(0o600)
            if cluster.identity:
                account = pwd.getpwnam("postgres")
                os.chown(target, account.pw_uid, account.pw_gid)
        hba = cluster.data / "pg_hba.conf"
        hba.write_text("hostssl by_cert all all cert\nhost by_md5 all all md5\n" + hba.read_text())
        with cluster.admin() as conn:
            for name in ("by_cert", "by_md5"):
                conn.execute(f"CREATE DATABASE {name} OWNER app")
        cluster.configure("ssl_cert_file = 'server.pem'", "ssl_key_file = 'server-key.pem'", "ssl_ca_file = 'ca.pem'", "ssl = on")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def make(server):
    """Makes a proxy whose tier `int` has this url."""
    made = []

    def start(hosts, parameters, dbname="postgres", **keys):
        proxy = Proxy(server, {"tiers": {"int": {"pool": {"min": 0, "max": 2, "wait": "2s"}}}})
        proxy.config["databases"]["app"] = {"int": {
            "url": f"postgres://app@{hosts}/{dbname}?{parameters}", "password_env": "TEST_UPSTREAM_PASSWORD"} | keys}
        proxy.write_config()
        made.append(proxy)
        return proxy.start("/healthz")

    yield start
    for proxy in made:
        proxy.close()


def works(proxy):
    """Whether a session can be had; fails when the client is told anything but that it cannot."""
    try:
        with proxy.connect("app", "int") as conn:
            return conn.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()[0]
    except psycopg.OperationalError as error:
        assert "cannot connect to app:int" in str(error)
        return False


def client(certs, name):
    """The keys of a client certificate."""
    return {"ca": str(certs / "ca.pem"), "cert": str(certs / f"{name}.pem"), "key": str(certs / f"{name}-key.pem")}


def test_client_certificate(server, certs, make):
    here = f"localhost:{server.port}"
    assert works(make(here, "sslmode=verify-full", "by_cert", **client(certs, "app")))
    assert not works(make(here, "sslmode=verify-full", "by_cert", **client(certs, "eve"))), "made for another role"
    assert not works(make(here, "sslmode=verify-full", "by_cert", ca=str(certs / "ca.pem"))), "without one"
    files = client(certs, "app")
    as_in_libpq = f"sslmode=verify-full&sslrootcert={files['ca']}&sslcert={files['cert']}&sslkey={files['key']}"
    assert works(make(here, as_in_libpq, "by_cert"))


def test_cancel_shows_the_certificate_too(server, certs, make):
    """A cancel has a connection of its own."""
    proxy = make(f"localhost:{server.port}", "sslmode=verify-full", "by_cert", **client(certs, "app"))
    with proxy.connect("app", "int") as conn:
        conn.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(30)")
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_channel_binding(server, certs, make, binding):
    proxy = make(f"localhost:{server.port}", f"sslmode=verify-full&channel_binding={binding}", ca=str(certs / "ca.pem"))
    assert works(proxy)


def test_channel_binding_finds_somebody_in_the_middle(server, impostor, make):
    """With sslmode=require anybody may end the TLS; who is bound to the certificate that it sees cannot be passed on."""
    here = ("127.0.0.1", server.port)
    with Relay(here, tls=(impostor / "server.pem", impostor / "server-key.pem")) as middle:
        url = f"localhost:{middle.port}"
        assert works(make(url, "sslmode=require&channel_binding=disable")), "the relay works"
        for binding in ("prefer", "require"):
            before = middle.accepted
            proxy = make(url, f"sslmode=require&channel_binding={binding}")
            assert not works(proxy)
            assert middle.accepted > before
            assert "channel binding" in proxy.stderr()


@pytest.mark.parametrize("parameters, dbname", [("sslmode=prefer", "by_md5"), ("sslmode=require", "by_md5")])
def test_required_channel_binding_takes_no_other_login(server, make, parameters, dbname):
    """Neither a server without TLS nor one that asks for less."""
    proxy = make(f"localhost:{server.port}", parameters + "&channel_binding=require", dbname)
    # The role's password is stored for SCRAM, which `md5` in pg_hba.conf then means: it works over TLS …
    assert works(proxy)
    with Relay(("127.0.0.1", server.port), refuse_tls=True) as plain:
        # … and not without.
        assert not works(make(f"localhost:{plain.port}", "sslmode=prefer&channel_binding=require"))


def test_direct_tls(server, certs, make):
    """What Postgres 17 does by itself, a relay does here."""
    with Relay(("127.0.0.1", server.port), tls=(certs / "server.pem", certs / "server-key.pem"), direct=True) as direct:
        url = f"localhost:{direct.port}"
        ca = str(certs / "ca.pem")
        # The relay's certificate is the server's own: channel binding holds.
        assert works(make(url, "sslmode=verify-full&sslnegotiation=direct&channel_binding=require", ca=ca))
        assert not works(make(url, "sslmode=verify-full", ca=ca)), "the relay takes no SSLRequest"
    with Relay(("127.0.0.1", server.port), tls=(certs / "server.pem", certs / "server-key.pem"), direct=True, alpn=False) as other:
        proxy = make(f"localhost:{other.port}", "sslmode=verify-full&sslnegotiation=direct", ca=ca)
        assert not works(proxy)
        assert "ALPN" in proxy.stderr()


def test_each_host_is_verified_by_its_own_name(server, certs, make):
    """The certificate is for localhost and 127.0.0.1; a host of another name is passed over."""
    ca = str(certs / "ca.pem")
    both = f"127.1:{server.port},localhost:{server.port}"
    proxy = make(both, "sslmode=verify-full", ca=ca)
    assert works(proxy)
    assert f"127.1:{server.port} (not used)" in proxy.http("/readyz")[1]
    assert not works(make(f"127.1:{server.port}", "sslmode=verify-full", ca=ca))


def test_the_keys_of_a_user_are_bound_to_the_server(server, make):
    """A user of auth_query logs in at the server by its keys alone, with channel binding."""
    with server.admin() as admin:
        admin.execute("CREATE ROLE dana LOGIN PASSWORD 'dana-secret'")
        admin.execute("ALTER ROLE app SUPERUSER")
    try:
        proxy = make(f"localhost:{server.port}", "sslmode=require&channel_binding=require", auth_query={"role": "agent"})
        with proxy.connect("dana", "int", password="dana-secret") as conn:
            assert conn.execute("SELECT session_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == ("dana", True)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            proxy.connect("dana", "int", password="wrong")
    finally:
        with server.admin() as admin:
            admin.execute("ALTER ROLE app NOSUPERUSER")
            admin.execute("DROP ROLE dana")


def test_a_server_that_asks_for_the_password_itself(server, make):
    """The proxy has only the keys: it says so, and what to do."""
    with server.admin() as admin:
        admin.execute("CREATE ROLE dana LOGIN PASSWORD 'dana-secret'")
        admin.execute("ALTER ROLE app SUPERUSER")
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    try:
        hba.write_text("host postgres dana all password\n" + before)
        with server.admin() as admin:
            admin.execute("SELECT pg_reload_conf()")
        proxy = make(f"localhost:{server.port}", "sslmode=require", auth_query={"role": "agent"})
        with pytest.raises(psycopg.OperationalError, match="cannot connect to app:int"):
            proxy.connect("dana", "int", password="dana-secret")
        assert "scram-sha-256 in pg_hba.conf for the roles of auth_query" in proxy.stderr()
    finally:
        hba.write_text(before)
        with server.admin() as admin:
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("ALTER ROLE app NOSUPERUSER")
            admin.execute("DROP ROLE dana")


# --- reload ---


def test_files_that_were_replaced_are_used_after_a_reload(make, server, certs, impostor, tmp_path):
    """New connections to the server use what the files hold now; sessions go on with the connections they have."""
    ca, token = tmp_path / "ca.pem", tmp_path / "token"
    shutil.copy(certs / "ca.pem", ca)
    proxy = make(f"localhost:{server.port}", "sslmode=verify-full", ca=str(ca))
    with proxy.connect() as conn:
        conn.execute("BEGIN")
        conn.execute("SELECT 1")
        shutil.copy(impostor / "ca.pem", ca)
        token.write_text("0123456789abcdef")
        assert "was loaded" in proxy.reload({"admin": {"token_file": str(token)}})["message"]
        # What is idle was made with the old file.
        assert command("admin", "reconnect", "--config", proxy.config_file, env=proxy.environment).returncode == 0
        with pytest.raises(psycopg.OperationalError), proxy.connect() as refused:
            refused.execute("SELECT 1")
        assert conn.execute("SELECT 2").fetchone() == (2,)
        conn.execute("COMMIT")
        shutil.copy(certs / "ca.pem", ca)
        proxy.reload()
        wait_until(lambda: answered(proxy), "the server's certificate is trusted again")
        ca.write_text("no certificate")
        assert "was not loaded" in proxy.reload()["message"]
        assert answered(proxy)


def answered(proxy):
    try:
        with proxy.connect() as conn:
            return conn.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
