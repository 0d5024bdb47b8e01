"""Operators' commands: PAUSE, RESUME, RECONNECT, KILL and the like, as PgBouncer's operators know them."""

import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import threading
import time

import psycopg
import pytest

from support import wire as w
from support.cluster import Cluster
from support.ports import wait_until
from support.proxy import Proxy, binary, command

pytestmark = pytest.mark.needs_proxy

TOKEN = "a-token-of-the-tests-0123456789"


def with_token(**more):
    """A configuration that takes commands."""
    return {"admin": {"token_env": "TEST_ADMIN_TOKEN"}} | more


@pytest.fixture
def operated(make_proxy, cluster):
    """A proxy that takes commands, in front of a database of its own."""
    name = cluster.fresh_database("operated")

    def make(**config):
        proxy = make_proxy(with_token(**config), {("app", "int"): name}, start=False)
        proxy.environment["TEST_ADMIN_TOKEN"] = TOKEN
        proxy.name = name
        return proxy.start()
    yield make
    cluster.drop_database(name)


@pytest.fixture
def own_cluster():
    """A Postgres that may be stopped, and a proxy in front of it that takes commands."""
    server = Cluster()
    proxy = None
    try:
        server.create()
        proxy = Proxy(server, with_token())
        proxy.environment["TEST_ADMIN_TOKEN"] = TOKEN
        yield server, proxy.start()
    finally:
        if proxy:
            proxy.close()
        server.remove()


def ask(proxy, method, path, token=TOKEN):
    """Status and body of a request."""
    conn = http.client.HTTPConnection(proxy.host, proxy.admin_port, timeout=10)
    try:
        conn.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = conn.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if text.startswith("{") else text
    finally:
        conn.close()


def order(proxy, path):
    """Gives a command that must be done."""
    status, answer = ask(proxy, "POST", path)
    assert status == 200, answer
    return answer


def pool(proxy, target="app:int"):
    """What is told of one pool."""
    status, answer = ask(proxy, "GET", "/pools")
    assert status == 200
    return next(p for p in answer["pools"] if p["target"] == target)


def backends(proxy, cluster):
    """Clients' statements run on these; the proxy's own queries are not counted."""
    return cluster.backends(proxy.name)


def test_a_pause_waits_for_transactions_and_clients_wait_for_its_end(operated, cluster):
    proxy = operated()
    with proxy.connect() as busy, proxy.connect() as idle, proxy.connect() as listening:
        idle.execute("SELECT 1")
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        answer = order(proxy, "/pause?target=app:int")
        assert [p["target"] for p in answer["pools"]] == ["app:int"] and answer["pools"][0]["paused"]
        # The transaction goes on, on the only connection that is left.
        assert busy.execute("SELECT 2").fetchone() == (2,)
        wait_until(lambda: len(backends(proxy, cluster)) == 1, "only the transaction's connection is left")
        busy.execute("COMMIT")
        wait_until(lambda: not backends(proxy, cluster), "the server is left alone")
        assert pool(proxy)["primary"]["open"] == 0
        with concurrent.futures.ThreadPoolExecutor() as executor:
            waiting = [executor.submit(lambda c=c: c.execute("SELECT 3").fetchone()) for c in (idle, listening)]
            # A login needs no connection, as long as the parameters are known.
            waiting.append(executor.submit(lambda: psycopg_once(proxy)))
            wait_until(lambda: pool(proxy)["primary"]["waiting"] == 3, "the clients wait")
            assert not any(future.done() for future in waiting)
            assert not backends(proxy, cluster)
            assert proxy.http("/readyz")[0] == 200
            assert proxy.metrics()["pgbelay_pool_paused"]
            order(proxy, "/resume?target=app:int")
            assert [future.result(10) for future in waiting] == [(3,)] * 3
    assert [r["message"].split(", by ")[0] for r in proxy.records("admin") if r["message"].startswith("admin.")] == [
        "admin.pause: app:int", "admin.resume: app:int"]
    assert proxy.verify().returncode == 0


def psycopg_once(proxy):
    with proxy.connect() as conn:
        return conn.execute("SELECT 3").fetchone()


def test_a_pause_is_waited_for_no_longer_than_for_a_connection(operated):
    proxy = operated(tiers={"int": {"pool": {"wait": "300ms"}}})
    with proxy.connect() as conn:
        conn.execute("SELECT 1")
        order(proxy, "/pause")
        with pytest.raises(psycopg.OperationalError) as refused:
            conn.execute("SELECT 1")
        assert refused.value.sqlstate == "57P03"
        assert "app:int is paused" in str(refused.value) and "An operator has paused it" in refused.value.diag.message_detail
        # The session lives on, and what needs no connection is answered.
        assert conn.execute("SHOW pgbelay.tier").fetchone() == ("int",)
        order(proxy, "/resume")
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_pause_closes_what_is_kept_for_currval_only(operated, cluster):
    proxy = operated()
    with proxy.connect() as conn:
        conn.execute("CREATE SEQUENCE numbers")
        conn.execute("SELECT nextval('numbers')")
        conn.execute("SELECT currval('numbers')")
        conn.execute("SELECT nextval('numbers')")
        order(proxy, "/pause")
        wait_until(lambda: not backends(proxy, cluster), "the server is left alone")
        order(proxy, "/resume")
        assert conn.execute("SELECT nextval('numbers')").fetchone() == (3,)


def test_a_pause_outlives_a_reload(operated, cluster):
    proxy = operated()
    order(proxy, "/pause")
    order(proxy, "/disable?target=app:stg")
    proxy.reload({"tiers": {tier: {"pool": {"max": 7}} for tier in ("int", "stg")}})
    assert pool(proxy)["paused"] and pool(proxy)["primary"]["max"] == 7
    assert pool(proxy, "app:stg")["disabled"]
    order(proxy, "/resume")
    assert not pool(proxy)["paused"]


def test_a_restart_of_the_server_during_a_pause_is_not_seen(own_cluster):
    """What PAUSE is for: nothing fails, no statement is lost, while the server restarts under load."""
    server, proxy = own_cluster
    stop, counts, errors = threading.Event(), [], []

    def work():
        done = 0
        try:
            with proxy.connect() as conn:
                while not stop.is_set():
                    with conn.transaction():
                        conn.execute("SELECT 1")
                        done += 1
        except psycopg.Error as error:
            errors.append(error)
        counts.append(done)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: pool(proxy)["clients"] == 8, "all work")
    result = command("admin", "pause", "--config", proxy.config_file, env=proxy.environment)
    assert result.returncode == 0, result.stderr
    # Postgres's "smart" mode waits for every client: there is none.
    server.stop(signal.SIGTERM)
    server.start()
    order(proxy, "/resume")
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not errors, errors
    assert len(counts) == 8 and min(counts) > 0


def test_reconnect_replaces_the_connections(operated, cluster):
    proxy = operated()
    with proxy.connect() as busy, proxy.connect() as other:
        pid = other.execute("SELECT pg_backend_pid()").fetchone()
        busy.execute("BEGIN")
        mine = busy.execute("SELECT pg_backend_pid()").fetchone()
        order(proxy, "/reconnect")
        assert busy.execute("SELECT pg_backend_pid()").fetchone() == mine, "a transaction keeps its connection"
        assert other.execute("SELECT pg_backend_pid()").fetchone() not in (pid, mine)
        busy.execute("COMMIT")
        wait_until(lambda: not {pid[0], mine[0]} & set(backend_pids(proxy, cluster)), "both are closed")


def backend_pids(proxy, cluster):
    with cluster.admin() as conn:
        return [row[0] for row in conn.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [proxy.name])]


def test_kill_ends_all_sessions_and_new_ones_wait(operated, cluster):
    proxy = operated()
    with proxy.wire_login() as busy, proxy.wire_login() as idle, proxy.wire_login("app", "stg") as other:
        idle.simple("SELECT 1")
        busy.send(w.query("SELECT pg_sleep(60)"))
        wait_until(lambda: any("pg_sleep" in str(b) for b in running(proxy, cluster)), "it runs")
        order(proxy, "/kill?target=app:int")
        assert w.errors(idle.rest()) == ["57P01"]
        assert w.errors(busy.rest()) == ["57P01"]
        wait_until(lambda: not backends(proxy, cluster), "the statement is cancelled, the connections closed")
        assert not w.errors(other.simple("SELECT 1")), "another database goes on"
        with concurrent.futures.ThreadPoolExecutor() as executor:
            waiting = executor.submit(lambda: psycopg_once(proxy))
            wait_until(lambda: pool(proxy)["primary"]["waiting"] == 1, "a new client waits")
            order(proxy, "/resume")
            assert waiting.result(10) == (3,)


def running(proxy, cluster):
    with cluster.admin() as conn:
        return conn.execute("SELECT query FROM pg_stat_activity WHERE datname = %s AND state = 'active'", [proxy.name]).fetchall()


def test_one_client_can_be_looked_up_and_ended(operated):
    proxy = operated()
    with proxy.connect(application_name="stuck") as stuck, proxy.connect() as other:
        stuck.execute("LISTEN news")
        pid = stuck.execute("SELECT pg_backend_pid()").fetchone()[0]
        clients = ask(proxy, "GET", "/clients")[1]["clients"]
        entry, = [client for client in clients if client["application_name"] == "stuck"]
        assert entry["user"] == "app" and entry["target"] == "app:int" and entry["pins"] == ["listen"], entry
        assert entry["server"]["pid"] == pid
        assert any(s["pid"] == pid and s["client"] == entry["id"] for s in ask(proxy, "GET", "/servers")[1]["servers"])
        assert ask(proxy, "POST", "/kill-client?id=nobody")[0] == 404
        order(proxy, f"/kill-client?id={entry['id']}")
        with pytest.raises(psycopg.OperationalError):
            wait_until(lambda: stuck.execute("SELECT 1") and False, "it is ended")
        assert other.execute("SELECT 1").fetchone() == (1,)
        other.execute("SELECT 1")
        servers = ask(proxy, "GET", "/servers")[1]["servers"]
        assert any(s["client"] is None and s["idle_seconds"] >= 0 for s in servers), servers


def test_one_that_waits_for_the_catalog_can_be_ended(make_proxy, cluster):
    """The server's catalog is locked, so that the session that made code waits for it."""
    name = cluster.fresh_database("locked")
    proxy = make_proxy(with_token(), {("app", "prod"): name}, start=False)
    proxy.environment["TEST_ADMIN_TOKEN"] = TOKEN
    proxy.start()
    with proxy.wire_login("mig", "prod") as stuck, cluster.admin(name) as locker, cluster.admin() as admin:
        locker.execute("BEGIN")
        locker.execute("LOCK TABLE pg_rewrite")
        assert w.errors(stuck.simple("CREATE FUNCTION made_here() RETURNS int LANGUAGE sql AS 'SELECT 1'")) == []
        stuck.send(w.query("SELECT 1"))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbelay catalog' AND wait_event_type = 'Lock'"
        wait_until(lambda: admin.execute(waiting).fetchone()[0], "the catalog cannot be loaded")
        entry, = ask(proxy, "GET", "/clients")[1]["clients"]
        order(proxy, f"/kill-client?id={entry['id']}")
        stuck.sock.settimeout(5)
        assert w.errors(stuck.rest()) == ["57P01"]
        locker.execute("ROLLBACK")
    cluster.drop_database(name)


def test_a_disabled_database_takes_no_new_clients(operated):
    proxy = operated()
    with proxy.connect() as old:
        order(proxy, "/disable?target=app:int")
        with pytest.raises(psycopg.OperationalError, match="is not currently accepting connections"):
            proxy.connect()
        assert old.execute("SELECT 1").fetchone() == (1,)
        proxy.connect(tier="stg").close()
        order(proxy, "/enable")
        proxy.connect().close()


def test_reload_and_shutdown(operated):
    proxy = operated()
    proxy.write_config({"tiers": {"int": {"pool": {"max": 3}}}})
    order(proxy, "/reload")
    assert pool(proxy)["primary"]["max"] == 3
    good = proxy.config_file.read_text()
    proxy.config_file.write_text("nonsense")
    status, answer = ask(proxy, "POST", "/reload")
    assert status == 409 and "not valid TOML" in answer["error"]
    proxy.config_file.write_text(good)
    order(proxy, "/shutdown")
    assert proxy.process.wait(10) == 0
    assert proxy.verify().returncode == 0


def test_a_wrong_token_is_refused_and_recorded(operated):
    proxy = operated()
    for token in (None, TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        assert ask(proxy, "POST", "/pause", token)[0] == 401
        assert ask(proxy, "GET", "/clients", token)[0] == 401
    assert not pool(proxy)["paused"]
    proxy.wait_record("admin", lambda r: r["message"].startswith("admin.refused: "))
    assert TOKEN not in proxy.audit_file.read_text() + proxy.stderr()


def test_without_a_token_no_commands_are_taken(make_proxy):
    proxy = make_proxy()
    assert ask(proxy, "POST", "/pause", "")[0] == 403
    result = command("admin", "pause", "--config", proxy.config_file, env=proxy.environment)
    assert result.returncode == 1 and "[admin] has no token" in result.stderr


def test_what_cannot_be_recorded_is_not_done(make_proxy):
    proxy = make_proxy(with_token(), start=False)
    proxy.environment["TEST_ADMIN_TOKEN"] = TOKEN
    # Beyond its limit a file cannot be written; the signal that would end the process is ignored.
    with open(proxy.stderr_file, "ab") as log:
        proxy.process = subprocess.Popen(["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh", binary(), "run", "--config", str(proxy.config_file)],
                                         stdout=log, stderr=log, env=os.environ | proxy.environment, cwd=proxy.base)
    wait_until(lambda: proxy.answers(), "it is ready")
    order(proxy, "/resume")
    subprocess.run(["prlimit", f"--fsize={proxy.audit_file.stat().st_size}", "--pid", str(proxy.process.pid)], check=True)
    status, answer = ask(proxy, "POST", "/pause")
    assert status == 503 and "the audit trail cannot be written" in answer["error"], answer
    assert not pool(proxy)["paused"]


def test_the_command_line_waits_until_the_server_is_left_alone(operated, cluster):
    proxy = operated()

    def run(*args):
        return command("admin", *args, "--config", proxy.config_file, env=proxy.environment)

    with proxy.connect() as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        late = run("pause", "app:int", "--timeout", "0")
        assert late.returncode == 1 and "1 connections are still in use" in late.stderr
        process = subprocess.Popen([binary(), "admin", "pause", "app:int", "--config", str(proxy.config_file)],
                                   env=proxy.environment, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        busy.execute("COMMIT")
        assert process.wait(10) == 0
        assert json.loads(process.stdout.read())["pools"][0]["primary"]["open"] == 0
        assert not backends(proxy, cluster)
    assert run("resume", "app:int").returncode == 0
    assert run("kill").returncode == 1
    assert "there is no \"nowhere\"" in run("pause", "nowhere").stderr
    assert json.loads(run("pools").stdout)["pools"]
