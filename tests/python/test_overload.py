"""A full pool, a lost server, many clients."""

import concurrent.futures
import re
import subprocess
import threading
import time

import psycopg
import pytest

from support.cluster import APP_PASSWORD, Cluster, program
from support.ports import wait_until
from support.proxy import endpoint

pytestmark = pytest.mark.needs_proxy


def pools(**limits):
    return {"tiers": {tier: {"pool": {"min": 0, **limits}} for tier in ("int", "stg", "prod")}}


# --- a full pool ---


@pytest.fixture(scope="module")
def tight(make_module_proxy):
    """Two connections; whoever waits for a third gives up after half a second."""
    return make_module_proxy(pools(max=2, wait="500ms"))


def test_full_pool_is_an_error_after_the_wait(tight):
    with tight.connect("app", "int") as a, tight.connect("app", "int") as b, tight.connect("app", "int") as waiting:
        for holder in (a, b):
            holder.execute("BEGIN")
            holder.execute("SELECT 1")
        started = time.monotonic()
        with pytest.raises(psycopg.errors.TooManyConnections) as full:
            waiting.execute("SELECT 1")
        assert 0.4 < time.monotonic() - started < 5
        assert full.value.diag.message_hint
        a.execute("COMMIT")
        assert waiting.execute("SELECT 'served'").fetchone() == ("served",)
        b.execute("COMMIT")


def test_a_waiting_client_is_served_when_a_connection_is_free(tight):
    with tight.connect("app", "int") as a, tight.connect("app", "int") as b, tight.connect("app", "int") as waiting:
        for holder in (a, b):
            holder.execute("BEGIN")
            holder.execute("SELECT 1")
        threading.Timer(0.2, lambda: a.execute("COMMIT")).start()
        assert waiting.execute("SELECT 'served'").fetchone() == ("served",)
        b.execute("COMMIT")


def test_pinned_sessions_fill_the_pool_and_free_it(tight):
    pinned = [tight.connect("app", "int") for _ in range(2)]
    for conn in pinned:
        conn.execute("LISTEN held_open")
    with tight.connect("app", "int") as waiting:
        with pytest.raises(psycopg.errors.TooManyConnections):
            waiting.execute("SELECT 1")
        for conn in pinned:
            conn.close()
        wait_until(lambda: served(waiting), "the pool is free again")


def served(conn):
    """Whether a statement works now."""
    try:
        return conn.execute("SELECT true").fetchone()[0]
    except psycopg.errors.TooManyConnections:
        return False


def test_begin_without_a_connection(tight):
    """Whether BEGIN or the statement behind it fails: the session is in step, and goes on when there is a connection."""
    with tight.connect("app", "int") as a, tight.connect("app", "int") as b, tight.connect("app", "int") as waiting:
        for holder in (a, b):
            holder.execute("BEGIN")
            holder.execute("SELECT 1")
        with pytest.raises(psycopg.errors.TooManyConnections):
            waiting.execute("BEGIN")
            waiting.execute("SELECT 1")
        state = psycopg.pq.TransactionStatus
        assert waiting.info.transaction_status in (state.IDLE, state.INERROR)
        if waiting.info.transaction_status == state.INERROR:
            waiting.execute("ROLLBACK")
        a.execute("COMMIT")
        assert waiting.execute("SELECT 1").fetchone() == (1,)
        assert waiting.info.transaction_status == state.IDLE
        b.execute("COMMIT")


def test_tiers_have_pools_of_their_own(tight):
    with tight.connect("app", "int") as a, tight.connect("app", "int") as b, tight.connect("app", "stg") as other:
        for holder in (a, b):
            holder.execute("BEGIN")
            holder.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_most_clients(make_proxy):
    proxy = make_proxy({"listen": {"max_clients": 3}})
    held = [proxy.connect("app", "int") for _ in range(3)]
    with pytest.raises(psycopg.OperationalError, match="too many"):
        proxy.connect("app", "int")
    held.pop().close()
    wait_until(lambda: _connects(proxy), "another client is taken")
    for conn in held:
        conn.close()


def _connects(proxy):
    try:
        proxy.connect("app", "int").close()
        return True
    except psycopg.OperationalError:
        return False


def test_clients_that_do_not_log_in_are_closed(make_proxy):
    proxy = make_proxy({"listen": {"login_timeout": "1s"}})
    with proxy.wire(timeout=8) as silent, proxy.wire(timeout=8) as halfway:
        halfway.send(b"\0\0\0\x50\0\x03\0\0user")
        started = time.monotonic()
        silent.rest()
        halfway.rest()
        assert 0.5 < time.monotonic() - started < 6


# --- a lost server ---


def test_server_process_killed_while_idle_is_not_noticed(tight, cluster):
    """The connection is checked when it is taken from the pool."""
    with tight.connect("app", "stg") as conn:
        conn.execute("SELECT 1")
        terminate_all(cluster, "app_stg")
        assert conn.execute("SELECT 2").fetchone() == (2,)


def terminate_all(cluster, dbname):
    """Ends all of a database's server processes and waits until they are gone."""
    pids = [row[0] for row in cluster.backends(dbname)]
    with cluster.admin() as admin:
        for pid in pids:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: not admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [pids]).fetchone(),
                   "the processes are gone")


def busy_pid(cluster, needle):
    """The server process that runs a statement."""
    def find():
        with cluster.admin() as admin:
            return admin.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()",
                                 [f"%{needle}%"]).fetchone()
    return wait_until(find, f"{needle} runs")[0]


def test_server_process_killed_during_a_statement(tight, cluster):
    with tight.connect("app", "int") as conn, concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(conn.execute, "SELECT pg_sleep(20), 'victim one'")
        pid = busy_pid(cluster, "victim one")
        with cluster.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.errors.AdminShutdown):
            running.result(10)
        assert conn.closed, "as on a connection to the server itself"


def test_session_ends_its_own_server_process(tight):
    with tight.connect("app", "int") as conn:
        with pytest.raises(psycopg.errors.AdminShutdown, match="terminating connection due to administrator command"):
            conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        assert conn.closed


def test_session_with_state_on_it_hears_why_its_server_process_ended(tight, cluster):
    """It holds the process between its statements, so it is told as soon as that is gone."""
    with tight.connect("app", "int") as conn:
        conn.execute("CREATE TEMP TABLE held (id int)")
        pid = conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        with cluster.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.errors.AdminShutdown):
            conn.execute("SELECT 1")
        assert conn.closed


def test_server_process_killed_in_a_transaction(tight, cluster):
    with tight.connect("app", "int") as conn:
        conn.execute("BEGIN")
        conn.execute("UPDATE projects SET status = 'lost with it' WHERE id = 15")
        pid = conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        with cluster.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_until(lambda: not admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone(), "it is gone")
        with pytest.raises(psycopg.errors.AdminShutdown):
            conn.execute("SELECT 1")
        assert conn.closed, "as on a connection to the server itself"
    with tight.connect("app", "int") as conn:
        assert conn.execute("SELECT count(*) FROM projects WHERE status = 'lost with it'").fetchone() == (0,)


def test_server_restarts_under_load(tmp_path):
    """Clients get SQLSTATE errors, then work again; the proxy is not restarted."""
    server = Cluster()
    proxy = None
    try:
        server.create()
        proxy = endpoint(server, pools(max=5, wait="2s")).start()
        stop = threading.Event()
        states, unknown, successes = set(), [], [0] * 8

        def work(i):
            conn = None
            while not stop.is_set():
                try:
                    if conn is None or conn.closed:
                        conn = proxy.connect("app", "int")
                    conn.execute("UPDATE projects SET name = name WHERE id = %s", [i + 1])
                    successes[i] += 1
                except psycopg.Error as error:
                    if error.sqlstate:
                        states.add(error.sqlstate)
                    elif conn is not None and not isinstance(error, psycopg.OperationalError):
                        unknown.append(repr(error))

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = [pool.submit(work, i) for i in range(8)]
            try:
                wait_until(lambda: min(successes) > 5, "all clients work")
                server.stop()
                wait_until(lambda: proxy.answers("/readyz", 503), "the proxy says that it is not ready")
                assert proxy.answers("/healthz")
                server.start()
                before = list(successes)
                wait_until(lambda: all(now > then + 5 for now, then in zip(successes, before)), "all clients work again", 20)
                wait_until(proxy.answers, "the proxy is ready again")
            finally:
                stop.set()
            for future in running:
                future.result(20)
        assert unknown == []
        # Who waits for the server instead of losing a statement sees no error at all.
        assert states <= {"57P01", "57P02", "57P03", "08001", "08006", "53300", "25P02"}, states
    finally:
        if proxy:
            proxy.close()
        server.remove()


# --- many clients ---


@pytest.fixture(scope="module")
def bench(cluster, make_module_proxy):
    """A database with pgbench's tables behind a pool of 10."""
    name = cluster.create_database("pgbench_int")
    subprocess.run([program("pgbench"), "-i", "-q", "-s", "5", "-h", cluster.host, "-p", str(cluster.port), "-U", "app", name],
                   check=True, capture_output=True, env={"PGPASSWORD": APP_PASSWORD, "PATH": "/usr/bin:/bin"})
    return make_module_proxy({"tiers": {tier: {"pool": {"min": 2, "max": 10, "wait": "20s"}} for tier in ("int", "prod")}},
                             {("bench", "int"): name, ("bench", "prod"): name})


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_with_200_clients_on_a_pool_of_10(bench, cluster, mode):
    result = subprocess.run([program("pgbench"), "-n", "-M", mode, "-c", "200", "-j", "2", "-T", "3"],
                            env=bench.env("app", "int", "bench", reason=None), capture_output=True, text=True, timeout=90)
    assert result.returncode == 0 and "ERROR" not in result.stderr and "abort" not in result.stderr, result.stderr[-3000:]
    assert int(re.search(r"transactions actually processed: (\d+)", result.stdout)[1]) > 200
    assert "number of failed transactions: 0" in result.stdout
    with cluster.connect("pgbench_int") as check:
        sums = check.execute("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),"
                             " (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)").fetchone()
    assert len(set(sums)) == 1, f"TPC-B's sums differ: {sums}"


def test_pgbench_on_a_guarded_tier(bench):
    """The row limit's own transactions do not show."""
    result = subprocess.run([program("pgbench"), "-n", "-M", "prepared", "-c", "20", "-j", "2", "-T", "2"],
                            env=bench.env("app", "prod", "bench"), capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "number of failed transactions: 0" in result.stdout, result.stderr[-3000:]


def test_new_connection_for_each_transaction(bench):
    result = subprocess.run([program("pgbench"), "-n", "-S", "-C", "-c", "10", "-j", "2", "-t", "20"],
                            env=bench.env("app", "int", "bench", reason=None), capture_output=True, text=True, timeout=90)
    assert result.returncode == 0 and "transactions actually processed: 200/200" in result.stdout, result.stderr[-3000:]
