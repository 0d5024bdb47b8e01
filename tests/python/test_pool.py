"""Many clients over few connections, and none can tell: 30 clients over a pool of 6.

With PGBELAY_DIRECT=1 the same probes run against Postgres itself, one connection a client.
"""

import concurrent.futures
import contextlib
import itertools
import threading

import psycopg
import pytest

from support.ports import wait_until

CLIENTS = 30
POOL = 6
DATABASE = "pool_int"


@pytest.fixture(scope="module")
def small(cluster, make_module_proxy):
    """A pool of 6, to a database of its own."""
    cluster.create_database(DATABASE)
    return make_module_proxy({"tiers": {"int": {"pool": {"min": 0, "max": POOL, "wait": "20s"}}}}, {("app", "int"): DATABASE})


@pytest.fixture
def clients(small):
    """30 connections of the application."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(small.connect("app", "int")) for _ in range(CLIENTS)]


def one(conn, query, params=None, **kwargs):
    """The only value of the only row."""
    return conn.execute(query, params, **kwargs).fetchone()[0]


def at_once(clients, work):
    """work(conn, index) for all clients, each in a thread of its own; the results in order."""
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(work, clients, itertools.count()))


def churn(clients):
    """Moves every client over the connections of the pool."""
    for _ in range(3):
        at_once(clients, lambda conn, i: one(conn, "SELECT 1"))


@pytest.mark.needs_proxy
def test_the_pool_is_as_small_as_configured(clients, cluster):
    with concurrent.futures.ThreadPoolExecutor(1) as watcher:
        busy = watcher.submit(at_once, clients, lambda conn, i: one(conn, "SELECT pg_sleep(0.1)"))
        most = 0
        while not busy.done():
            most = max(most, len(cluster.backends(DATABASE)))
    # One more connection may read the catalog in the background.
    assert POOL <= most <= POOL + 1


# --- the fourteen probes of session state ---


def test_settings(clients):
    def work(conn, i):
        conn.execute(f"SET application_name = 'client {i}'")
        conn.execute(f"SET work_mem = '{i + 64}kB'")
        conn.execute(f"SELECT set_config('app.tenant', 'tenant {i}', false)")
        conn.execute(f"SET search_path = 'schema_{i}', public")

    at_once(clients, work)
    churn(clients)
    expected = [(f"client {i}", f"{i + 64}kB", f"tenant {i}", f"schema_{i}, public") for i in range(CLIENTS)]
    for _ in range(3):
        got = at_once(clients, lambda conn, i: conn.execute(
            "SELECT current_setting('application_name'), current_setting('work_mem'), current_setting('app.tenant'),"
            " current_setting('search_path')").fetchone())
        assert got == expected


def test_set_config_with_a_parameter(clients):
    """The value is known only when it is bound."""
    at_once(clients, lambda conn, i: conn.execute("SELECT set_config('app.tenant', %s, false)", [f"tenant {i}"]))
    churn(clients)
    assert at_once(clients, lambda conn, i: one(conn, "SHOW app.tenant")) == [f"tenant {i}" for i in range(CLIENTS)]


def test_rolled_back_set(clients):
    def work(conn, i):
        conn.execute("SET work_mem = '1MB'")
        conn.execute("BEGIN")
        conn.execute("SET work_mem = '2MB'")
        conn.execute("SAVEPOINT s")
        conn.execute("SET work_mem = '3MB'")
        conn.execute("ROLLBACK TO s")
        inside = one(conn, "SHOW work_mem")
        conn.execute("ROLLBACK" if i % 2 else "COMMIT")
        return inside

    assert set(at_once(clients, work)) == {"2MB"}
    churn(clients)
    assert at_once(clients, lambda conn, i: one(conn, "SHOW work_mem")) == ["1MB" if i % 2 else "2MB" for i in range(CLIENTS)]


def test_set_in_a_failed_transaction(clients):
    conn = clients[0]
    conn.execute("SET work_mem = '1MB'")
    conn.execute("BEGIN")
    conn.execute("SET work_mem = '2MB'")
    with pytest.raises(psycopg.errors.DivisionByZero):
        conn.execute("SELECT 1/0")
    assert conn.execute("COMMIT").statusmessage == "ROLLBACK"
    churn(clients)
    assert one(conn, "SHOW work_mem") == "1MB"


def test_set_local(clients):
    def work(conn, i):
        conn.execute("BEGIN")
        conn.execute(f"SET LOCAL work_mem = '{i + 100}kB'")
        conn.execute(f"SELECT set_config('app.local', '{i}', true)")
        inside = conn.execute("SELECT current_setting('work_mem'), current_setting('app.local')").fetchone()
        conn.execute("COMMIT")
        return inside

    default = one(clients[0], "SHOW work_mem")
    assert at_once(clients, work) == [(f"{i + 100}kB", str(i)) for i in range(CLIENTS)]
    churn(clients)
    assert set(at_once(clients, lambda conn, i: one(conn, "SHOW work_mem"))) == {default}
    assert set(at_once(clients, lambda conn, i: one(conn, "SELECT coalesce(current_setting('app.local', true), '')"))) == {""}


def test_temporary_tables_are_kept_and_not_seen_by_others(clients):
    owners = clients[:POOL - 2]
    for i, conn in enumerate(owners):
        conn.execute("CREATE TEMP TABLE mine (a int)")
        conn.execute("INSERT INTO mine VALUES (%s)", [i])
    churn(clients)
    assert [one(conn, "SELECT a FROM mine") for conn in owners] == list(range(len(owners)))
    for conn in clients[POOL - 2:]:
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT a FROM mine")


def test_temporary_table_is_gone_with_its_session(small):
    for _ in range(2 * POOL):
        with small.connect("app", "int") as conn:
            conn.execute("CREATE TEMP TABLE short_lived (a int)")


def test_temporary_table_for_a_transaction(clients):
    def work(conn, i):
        with conn.transaction():
            conn.execute("CREATE TEMP TABLE passing (a int) ON COMMIT DROP")
            conn.execute("INSERT INTO passing VALUES (%s)", [i])
            return one(conn, "SELECT a FROM passing")

    assert at_once(clients, work) == list(range(CLIENTS))


def test_listen(clients):
    listeners = clients[:POOL - 2]
    for i, conn in enumerate(listeners):
        conn.execute(f"LISTEN channel_{i}")
    churn(clients)
    for i in range(len(listeners)):
        clients[-1].execute("SELECT pg_notify(%s, %s)", [f"channel_{i}", f"for {i}"])
    for i, conn in enumerate(listeners):
        assert [n.payload for n in conn.notifies(timeout=5, stop_after=1)] == [f"for {i}"]
    for conn in clients[POOL - 2:]:
        conn.execute("SELECT 1")
        assert list(conn.notifies(timeout=0)) == []


def test_listen_ends_with_its_session(small):
    for _ in range(2 * POOL):
        with small.connect("app", "int") as conn:
            conn.execute("LISTEN forgotten")
    with small.connect("app", "int") as conn:
        conn.execute("NOTIFY forgotten, 'nobody listens'")
        assert list(conn.notifies(timeout=0.2)) == []
        assert one(conn, "SELECT count(*) FROM pg_listening_channels()") == 0


def test_advisory_lock_is_held(clients):
    holder, *others = clients
    holder.execute("SELECT pg_advisory_lock(4711)")
    churn(others)
    assert set(at_once(others, lambda conn, i: one(conn, "SELECT pg_try_advisory_xact_lock(4711)"))) == {False}
    assert one(holder, "SELECT pg_advisory_unlock(4711)") is True
    assert one(others[0], "SELECT pg_try_advisory_lock(4711)") is True
    assert one(others[0], "SELECT pg_advisory_unlock(4711)") is True


def test_advisory_lock_that_is_not_had_keeps_no_connection(clients):
    holder, *others = clients
    holder.execute("SELECT pg_advisory_lock(4714)")
    for _ in range(2):
        assert set(at_once(others, lambda conn, i: one(conn, "SELECT pg_try_advisory_lock(4714)"))) == {False}
    assert one(holder, "SELECT pg_advisory_unlock(4714)") is True


def test_advisory_lock_is_released_with_its_session(small):
    for _ in range(2 * POOL):
        with small.connect("app", "int") as conn:
            assert one(conn, "SELECT pg_try_advisory_lock(4712)") is True

        def free():
            with small.connect("app", "int") as check:
                return one(check, "SELECT pg_try_advisory_xact_lock(4712)")

        wait_until(free, "the lock is free again")


def test_with_hold_cursor(clients):
    owners = clients[:POOL - 2]
    for i, conn in enumerate(owners):
        with conn.transaction():
            conn.execute(f"DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series({i}, 100) i")
    churn(clients)
    assert [one(conn, "FETCH 1 FROM held") for conn in owners] == list(range(len(owners)))
    churn(clients)
    assert [one(conn, "FETCH 1 FROM held") for conn in owners] == [i + 1 for i in range(len(owners))]
    for conn in owners:
        conn.execute("CLOSE held")
    with pytest.raises(psycopg.errors.InvalidCursorName):
        clients[-1].execute("FETCH 1 FROM held")


def test_sql_prepare(clients):
    owners = clients[:POOL - 2]
    for i, conn in enumerate(owners):
        conn.execute(f"PREPARE plan AS SELECT {i}")
    churn(clients)
    assert [one(conn, "EXECUTE plan") for conn in owners] == list(range(len(owners)))
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        clients[-1].execute("EXECUTE plan")
    for conn in owners:
        conn.execute("DEALLOCATE plan")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        owners[0].execute("EXECUTE plan")


def test_prepared_statements_of_the_protocol(clients):
    """The same names for different texts in different sessions."""
    def work(conn, i):
        return [one(conn, f"SELECT %s::int + {i} * {k}", [1], prepare=True) for k in range(20) for _ in range(2)]

    for _ in range(2):
        assert at_once(clients, work) == [[1 + i * k for k in range(20) for _ in range(2)] for i in range(CLIENTS)]


def test_ddl_under_prepared_statements(clients, cluster):
    with cluster.connect(DATABASE) as ddl:
        ddl.execute("DROP TABLE IF EXISTS shifting; CREATE TABLE shifting (a int); INSERT INTO shifting VALUES (1)")
    at_once(clients, lambda conn, i: one(conn, "SELECT a FROM shifting WHERE a = %s", [1], prepare=True))
    clients[0].execute("ALTER TABLE shifting ADD COLUMN b int DEFAULT 5")
    clients[0].execute("CREATE INDEX ON shifting (a)")
    got = at_once(clients, lambda conn, i: one(conn, "SELECT a FROM shifting WHERE a = %s", [1], prepare=True))
    assert got == [1] * CLIENTS


def test_reset_all(clients):
    before = one(clients[0], "SHOW work_mem")
    at_once(clients, lambda conn, i: conn.execute("SET work_mem = '9MB'"))
    at_once(clients, lambda conn, i: conn.execute("RESET ALL") if i % 2 else None)
    churn(clients)
    got = at_once(clients, lambda conn, i: one(conn, "SHOW work_mem"))
    assert got == [before if i % 2 else "9MB" for i in range(CLIENTS)]


def test_startup_options_survive_reset_all(small):
    with small.connect("app", "int", options="-c work_mem=7MB", application_name="named") as conn:
        conn.execute("SET work_mem = '1MB'")
        conn.execute("SET application_name = 'other'")
        conn.execute("RESET ALL")
        assert conn.execute("SELECT current_setting('work_mem'), current_setting('application_name')").fetchone() == ("7MB", "named")


def test_discard_all(clients):
    conn = clients[0]
    conn.execute("SET work_mem = '9MB'")
    conn.execute("CREATE TEMP TABLE discarded (a int)")
    conn.execute("LISTEN discarded")
    conn.execute("SELECT pg_advisory_lock(4713)")
    conn.execute("DISCARD ALL")
    churn(clients)
    assert one(conn, "SHOW work_mem") != "9MB"
    with pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("SELECT * FROM discarded")
    assert one(clients[1], "SELECT pg_try_advisory_xact_lock(4713)") is True


def test_pipelines(clients):
    def work(conn, i):
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int", [i * 100 + k]) for k in range(50)]
        return [c.fetchone()[0] for c in cursors]

    assert at_once(clients, work) == [[i * 100 + k for k in range(50)] for i in range(CLIENTS)]


def test_cancel_hits_its_own_statement_only(clients):
    """Half of them sleep and are cancelled, the others work on."""
    sleepers = clients[:POOL // 2]
    workers = clients[POOL // 2:]
    stop = threading.Event()

    def cancel_until_stopped(conn):
        while not stop.wait(0.1):
            conn.cancel_safe()

    def sleep(conn):
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(20)")
        return True

    with concurrent.futures.ThreadPoolExecutor(2 * len(sleepers)) as pool:
        asleep = [pool.submit(sleep, conn) for conn in sleepers]
        cancelling = [pool.submit(cancel_until_stopped, conn) for conn in sleepers]
        for _ in range(5):
            assert at_once(workers, lambda conn, i: one(conn, "SELECT %s::int", [i])) == list(range(len(workers)))
        assert all(f.result(15) for f in asleep)
        stop.set()
        for future in cancelling:
            future.result(15)


# --- more of what a session is ---


def test_sequence_values_of_the_session(clients, cluster):
    """currval and lastval speak of the session's own nextval; once somebody has asked for them so, whoever moves a sequence
    keeps its connection."""
    with cluster.connect(DATABASE) as ddl:
        ddl.execute("DROP SEQUENCE IF EXISTS counted; CREATE SEQUENCE counted")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        clients[-1].execute("SELECT currval('counted')")
    users = clients[:POOL - 2]
    mine = [one(conn, "SELECT nextval('counted')") for conn in users]
    churn(clients)
    assert [one(conn, "SELECT currval('counted')") for conn in users] == mine
    assert [one(conn, "SELECT lastval()") for conn in users] == mine
    for conn in clients[POOL - 2:]:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            conn.execute("SELECT currval('counted')")
    for conn in users:
        conn.execute("DISCARD SEQUENCES")
    churn(clients)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        users[0].execute("SELECT lastval()")


def test_sequence_values_in_a_transaction_keep_no_connection(make_proxy):
    """What one block moves and asks for needs no connection of the session's own."""
    server = make_proxy({"tiers": {"int": {"pool": {"min": 0, "max": 1, "wait": "5s"}}}}, {("app", "int"): DATABASE})
    with server.connect("app", "int") as first, server.connect("app", "int") as second:
        first.execute("CREATE SEQUENCE IF NOT EXISTS counted")
        for conn in (first, second, first):
            with conn.transaction():
                assert one(conn, "SELECT nextval('counted')") == one(conn, "SELECT currval('counted')")


@pytest.mark.needs_proxy
def test_sequence_values_keep_a_part_of_the_pool_only(make_proxy):
    """Beyond two thirds of it a session is told that it has none, and never another one's."""
    server = make_proxy({"tiers": {"int": {"pool": {"min": 0, "max": 3, "wait": "5s"}}}}, {("app", "int"): DATABASE})
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(server.connect("app", "int")) for _ in range(5)]
        users[0].execute("CREATE SEQUENCE IF NOT EXISTS counted")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            users[0].execute("SELECT lastval()")
        mine = [one(conn, "SELECT nextval('counted')") for conn in users]
        assert [one(conn, "SELECT currval('counted')") for conn in users[:2]] == mine[:2]
        for conn in users[2:4]:
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                conn.execute("SELECT currval('counted')")
        users[0].close()
        assert one(users[3], "SELECT nextval('counted')") == one(users[3], "SELECT currval('counted')")


def test_session_characteristics(clients):
    conn = clients[0]
    conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    churn(clients)
    assert conn.execute("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')").fetchone() == (
        "repeatable read", "on")
    assert one(clients[1], "SHOW transaction_isolation") == "read committed"


def test_client_encoding_and_datestyle(clients):
    conn = clients[0]
    conn.execute("SET DateStyle = 'German, DMY'")
    conn.execute("SET IntervalStyle = 'iso_8601'")
    churn(clients)
    cur = conn.execute("SELECT '2026-02-01'::date::text, '1 day'::interval::text")
    assert cur.fetchone() == ("01.02.2026", "P1D")
    assert one(clients[1], "SELECT '2026-02-01'::date::text") == "2026-02-01"


def test_transactions_do_not_mix(clients):
    def work(conn, i):
        with conn.transaction():
            first = one(conn, "SELECT txid_current()")
            return first == one(conn, "SELECT txid_current()")

    for _ in range(3):
        assert all(at_once(clients, work))


def test_each_client_gets_its_own_answer(clients):
    """Under load, with errors between."""
    def work(conn, i):
        got = []
        for k in range(30):
            if k % 7 == 3:
                with pytest.raises(psycopg.errors.DivisionByZero):
                    conn.execute("SELECT 1/0")
            got.append(one(conn, "SELECT %s::text", [f"{i}/{k}"]))
        return got

    assert at_once(clients, work) == [[f"{i}/{k}" for k in range(30)] for i in range(CLIENTS)]


@pytest.mark.needs_proxy
def test_what_pins_is_shown(small):
    with small.connect("app", "int") as conn:
        def shown():
            return " ".join(str(v) for row in conn.execute("SHOW pgbelay.session").fetchall() for v in row).lower()

        before = shown()
        conn.execute("CREATE TEMP TABLE pinning (a int)")
        assert shown() != before and "temp" in shown()
        conn.execute("DISCARD ALL")
        assert "temp" not in shown()


def test_server_sessions_are_not_used_up(small, cluster):
    """Sessions that come and go leave no more connections than the pool has."""
    for _ in range(40):
        with small.connect("app", "int") as conn:
            conn.execute("SELECT 1")
    wait_until(lambda: len(cluster.backends(DATABASE)) <= POOL + 1, "the connections are those of the pool")
