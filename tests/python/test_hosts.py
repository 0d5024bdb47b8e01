"""Several hosts in an upstream url: which of them is used, and what happens while none can be."""

import concurrent.futures
import os
import socket
import subprocess
import time

import psycopg
import pytest

from support.cluster import Cluster
from support.ports import free_port, wait_until
from support.proxy import Proxy, command
from support.relay import Relay

pytestmark = pytest.mark.needs_proxy

POOL = {"min": 0, "max": 5, "wait": "10s"}


def config(ports, parameters="", pool=None, name="127.0.0.1", **keys):
    """The tier `int` on these ports of a host, in this order."""
    hosts = ",".join(f"{name}:{port}" for port in ports)
    url = f"postgres://app@{hosts}/postgres?{parameters}"
    return {"databases": {"app": {"int": {"url": url, **keys}}}, "tiers": {"int": {"pool": POOL | (pool or {})}}}


@pytest.fixture(scope="module")
def pair():
    """A primary and its standby."""
    servers = [Cluster()]
    try:
        servers[0].create_empty()
        servers.append(servers[0].standby())
        yield servers
    finally:
        for server in reversed(servers):
            server.remove()


@pytest.fixture
def make(pair):
    """Makes a proxy in front of the pair, or of other ports."""
    made = []

    def start(*args, wait_for="/healthz", environment=None, launcher=(), **kwargs):
        proxy = Proxy(pair[0], config(*args, **kwargs))
        proxy.launcher = launcher
        proxy.environment |= environment or {}
        for tier in ("stg", "prod"):
            del proxy.config["databases"]["app"][tier]
        proxy.write_config()
        made.append(proxy)
        return proxy.start(wait_for)

    yield start
    for proxy in made:
        proxy.close()


def role(proxy, user="app"):
    """What the server is that a session gets."""
    with proxy.connect(user, "int") as conn:
        return "standby" if conn.execute("SELECT pg_is_in_recovery()").fetchone()[0] else "primary"


@pytest.mark.parametrize("attrs, order, expected", [
    ("any", "primary first", "primary"),
    ("any", "standby first", "standby"),
    ("read-write", "standby first", "primary"),
    ("primary", "standby first", "primary"),
    ("read-only", "primary first", "standby"),
    ("standby", "primary first", "standby"),
    ("prefer-standby", "primary first", "standby"),
])
def test_target_session_attrs(pair, make, attrs, order, expected):
    ports = [server.port for server in (pair if order == "primary first" else reversed(pair))]
    proxy = make(ports, f"target_session_attrs={attrs}")
    assert role(proxy) == expected


@pytest.mark.parametrize("attrs, expected", [("primary", "primary"), ("read-write", "primary"), ("standby", "standby"),
                                             ("prefer-standby", "standby")])
def test_a_server_that_does_not_tell_is_asked(pair, make, attrs, expected):
    """Before Postgres 14, and behind poolers, no ParameterStatus says what a server is."""
    def edit(kind, body):
        return kind != "S" or body.split(b"\0")[0] not in (b"in_hot_standby", b"default_transaction_read_only")

    with Relay(("127.0.0.1", pair[1].port), edit=edit) as standby, Relay(("127.0.0.1", pair[0].port), edit=edit) as primary:
        ports = [standby.port, primary.port] if expected == "primary" else [primary.port, standby.port]
        assert role(make(ports, f"sslmode=disable&target_session_attrs={attrs}")) == expected
        assert standby.accepted and primary.accepted


def test_prefer_standby_takes_a_primary_when_there_is_nothing_else(pair, make):
    assert role(make([free_port(), pair[0].port], "target_session_attrs=prefer-standby")) == "primary"


def test_prefer_standby_leaves_the_primary_once_there_is_a_standby(pair, make):
    port = free_port()
    proxy = make([port, pair[0].port], "target_session_attrs=prefer-standby&sslmode=disable")
    with proxy.connect("app", "int") as conn:
        conn.execute("BEGIN")
        assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        with Relay(("127.0.0.1", pair[1].port), port=port):
            conn.execute("COMMIT")
            # The connection used last is lent first: this one stays, unless it is retired.
            wait_until(lambda: conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,), "the primary is left", 20)


def test_a_dead_host_is_passed_over_and_then_tried_last(pair, make):
    """The first attempts notice, of which two may be under way at once; the next ones begin with the host that works."""
    with Relay() as dead:
        proxy = make([dead.port, pair[0].port], "target_session_attrs=read-write")
        before = dead.accepted
        with proxy.connect("app", "int") as a, proxy.connect("app", "int") as b:
            for conn in (a, b):
                conn.execute("BEGIN")
                conn.execute("SELECT 1")
        assert dead.accepted - before <= 2
        checks = proxy.http("/readyz")[1]
        assert f"127.0.0.1:{dead.port} (not used), 127.0.0.1:{pair[0].port} (primary)" in checks


def with_hosts(file):
    """Starts a program for which /etc/hosts is another file, in a mount namespace of its own."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    launcher = [*namespace, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(file)]
    if subprocess.run([*launcher, "true"], capture_output=True).returncode:
        pytest.skip("this machine permits no mount namespaces")
    return launcher


def test_a_change_in_the_dns_is_followed(pair, make, tmp_path):
    """Sessions keep what they have until the end of their transaction."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 db.pgbelay.test\n")
    with (Relay(("127.0.0.1", pair[0].port), address="127.0.0.2") as first,
          Relay(("127.0.0.1", pair[1].port), address="127.0.0.3", port=first.port)):
        proxy = make([first.port], "sslmode=disable", name="db.pgbelay.test", launcher=with_hosts(hosts))
        with proxy.connect("app", "int") as conn:
            conn.execute("BEGIN")
            conn.execute("SELECT 1")
            # It leaves an idle connection behind, which is lent first unless it is retired.
            assert role(proxy) == "primary"
            hosts.write_text("127.0.0.3 db.pgbelay.test\n")
            wait_until(lambda: role(proxy) == "standby", "the name is followed", 30)
            assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
            conn.execute("COMMIT")
            assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_random_order_uses_every_host(pair, make):
    ports = [server.port for server in pair]
    proxy = make(ports, "load_balance_hosts=random", pool={"max": 20})
    held = [proxy.connect("app", "int") for _ in range(20)]
    for conn in held:
        conn.execute("BEGIN")
    # Each of 20 connections went to either host: both are missed once in half a million runs.
    assert len({conn.execute("SELECT inet_server_port()").fetchone()[0] for conn in held}) == 2
    samples = proxy.metrics()["pgbelay_upstream_connections"]
    assert {(s["host"], s["role"]) for s, _ in samples} >= {
        (f"127.0.0.1:{pair[0].port}", "primary"), (f"127.0.0.1:{pair[1].port}", "standby")}
    for conn in held:
        conn.close()


def test_no_host_that_will_do(pair, make):
    """The client waits as long as the pool says, in the hope of a failover, and is told what is missing."""
    proxy = make([pair[1].port], "target_session_attrs=read-write", pool={"wait": "1s"})
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match="No database server of the kind") as error:
        proxy.connect("app", "int")
    assert 0.8 < time.monotonic() - started < 5
    assert "127.0.0.1" not in str(error.value).replace(f'"127.0.0.1", port {proxy.port}', "")
    assert not proxy.answers("/readyz")


def test_check_connect_shows_each_host(pair, make):
    proxy = make([pair[1].port, pair[0].port, free_port()], "target_session_attrs=read-write")
    shown = command("check", "--connect", "--quiet", "--config", proxy.config_file, env=proxy.environment)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = [line.split(None, 1) for line in shown.stdout.splitlines() if "127.0.0.1" in line]
    assert [text.split(":")[0] for _, text in lines] == ["not used", "ok", "FAILED"], shown.stdout
    assert "standby" in lines[0][1] and "primary" in lines[1][1]


def test_a_primary_that_becomes_read_only_is_left(make, pair):
    """As a managed service demotes: no connection breaks, but writes fail with 25006. One tells; all are replaced."""
    other = Cluster()
    try:
        other.create_empty()
        proxy = make([pair[0].port, other.port], "target_session_attrs=read-write")
        clients = [proxy.connect("app", "int") for _ in range(5)]
        for conn in clients:
            conn.execute("BEGIN")
            assert conn.execute("SELECT inet_server_port()").fetchone()[0] == pair[0].port
        for conn in clients:
            conn.execute("COMMIT")
        pair[0].configure("default_transaction_read_only = on")
        try:
            seen = wait_until(lambda: _error(clients[0], "CREATE TEMP TABLE t (a int) ON COMMIT DROP"), "the demotion takes effect")
            assert seen == "25006"

            def moved():
                return {conn.execute("SELECT inet_server_port()").fetchone()[0] for conn in clients} == {other.port}
            wait_until(moved, "every session is on the new primary")
            assert [_error(conn, "CREATE TEMP TABLE moved (a int) ON COMMIT DROP") for conn in clients] == [None] * 5
        finally:
            pair[0].configure("default_transaction_read_only = off")
        for conn in clients:
            conn.close()
    finally:
        other.remove()


def _error(conn, sql):
    """The SQLSTATE a statement fails with, if it does."""
    try:
        conn.execute(sql)
        return None
    except psycopg.Error as error:
        return error.sqlstate


def test_a_session_of_its_own_read_only_wish_moves_nothing(pair, make):
    """25006 is what a client asked for: the server is looked at, found well, and the connections stay."""
    proxy = make([pair[0].port], "target_session_attrs=read-write")
    with proxy.connect("app", "int") as conn:
        pid = conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        for _ in range(3):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), conn.transaction():
                conn.execute("SET TRANSACTION READ ONLY")
                conn.execute("CREATE TABLE never (a int)")
        # The look itself may have left a newer connection, which is lent first.
        assert conn.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == (1,)
    assert "retired" not in proxy.stderr()


# --- while nothing answers ---


def test_one_knock_at_a_time_with_growing_pauses(make):
    """30 clients wait 3 s for a server that closes each connection at once."""
    with Relay() as closed:
        proxy = make([closed.port], "sslmode=disable", pool={"wait": "3s"})
        wait_until(lambda: closed.accepted, "the proxy has knocked")
        before, started = closed.accepted, time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            states = list(pool.map(lambda _: _login_error(proxy), range(30)))
        took = time.monotonic() - started
        knocks = closed.accepted - before
        assert 2.5 < took < 10
        # Pauses of 50 ms, 100, 200, 400, 800 and then 1 s, of which half is left to chance.
        assert 1 <= knocks <= 6 + 2 * took, f"{knocks} connections in {took:.1f} s"
        assert all("cannot connect to app:int" in state for state in states), states


def _login_error(proxy):
    with pytest.raises(psycopg.OperationalError) as error:
        proxy.connect("app", "int")
    return str(error.value)


def test_a_refused_login_is_told_at_once_and_not_repeated_by_every_client(pair, make):
    with Relay(("127.0.0.1", pair[0].port)) as counted:
        proxy = make([counted.port], environment={"TEST_UPSTREAM_PASSWORD": "wrong"})
        wait_until(lambda: counted.accepted, "the proxy has tried")
        started = time.monotonic()
        for _ in range(20):
            assert "refused the proxy's login" in _login_error(proxy)
        took = time.monotonic() - started
        assert took < 8 and counted.accepted < 8 + took, counted.accepted


def test_200_clients_after_a_restart(make):
    """Everybody waits, nobody fails, and no more connections are opened than the pool may have."""
    server = Cluster()
    try:
        server.create_empty()
        server.configure("log_connections = on")
        proxy = make([server.port], "target_session_attrs=read-write", pool={"max": 10, "wait": "30s"})
        clients = [proxy.connect("app", "int") for _ in range(200)]
        server.kill()
        wait_until(lambda: proxy.answers("/readyz", 503), "the loss is noticed")
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            waiting = [pool.submit(_error, conn, "SELECT pg_sleep(0.01)") for conn in clients]
            wait_until(lambda: proxy.metrics()["pgbelay_pool_clients_waiting"][0][1] >= 150, "they wait")
            seen = len(server.logged("connection authorized: user=app"))
            server.start()
            assert [future.result(40) for future in waiting] == [None] * 200
        opened = len(server.logged("connection authorized: user=app")) - seen
        # The probe's connection, and the catalog's.
        assert opened <= 10 + 3, opened
        for conn in clients:
            conn.close()
    finally:
        server.remove()


def test_a_server_that_starts_is_waited_for(pair, make):
    """57P03 is not told to a client before the wait is over."""
    answers = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    proxy = make([listener.getsockname()[1]], "sslmode=disable", pool={"wait": "1s"})
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        client = pool.submit(_login_error, proxy)
        while not client.done():
            try:
                listener.settimeout(0.2)
                conn, _ = listener.accept()
            except TimeoutError:
                continue
            with conn:
                conn.recv(4096)
                conn.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
                answers.append(time.monotonic())
        told = client.result()
    listener.close()
    assert "starting up or shutting down" in told
    assert answers[-1] - answers[0] > 0.3
