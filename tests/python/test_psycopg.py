"""psycopg 3: simple and extended protocol, binary, pipelines, COPY, cursors, notifications, cancel."""

import contextlib
import threading
import time

import psycopg
import pytest
from psycopg import pq, sql

from support import wire as w
from support.sessions import LOGINS


@pytest.fixture(params=LOGINS, ids="-".join)
def conn(proxy, request):
    """Unguarded; guarded and writing; guarded and read-only."""
    user, tier = request.param
    with proxy.connect(user, tier) as connection:
        yield connection


@pytest.fixture(params=LOGINS[:2], ids="-".join)
def rw(proxy, request):
    """Sessions that may write."""
    user, tier = request.param
    with proxy.connect(user, tier) as connection:
        yield connection


def one(conn, query, params=None, **kwargs):
    """The only value of the only row."""
    return conn.execute(query, params, **kwargs).fetchone()[0]


def test_parameters_of_many_types(conn):
    values = {"i": 42, "f": 1.5, "t": "text ☃", "b": b"\x00\xff", "n": None, "l": [1, 2, 3], "o": True}
    row = conn.execute("SELECT %(i)s::int, %(f)s::float8, %(t)s::text, %(b)s::bytea, %(n)s::text, %(l)s::int[], %(o)s::bool", values)
    assert row.fetchone() == tuple(values.values())


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_binary_parameters_and_results(conn, binary):
    cur = conn.cursor(binary=binary)
    placeholder = "%b" if binary else "%t"
    cur.execute(f"SELECT {placeholder}::int8, {placeholder}::bytea, now()", [2**40, b"\x00\x01"])
    number, data, moment = cur.fetchone()
    assert (number, bytes(data)) == (2**40, b"\x00\x01") and moment.tzinfo
    assert cur.pgresult.fformat(0) == (pq.Format.BINARY if binary else pq.Format.TEXT)


def test_client_side_binding_uses_the_simple_protocol(proxy):
    with proxy.connect("app", "int", cursor_factory=psycopg.ClientCursor) as conn:
        assert one(conn, "SELECT %s || %s", ["it's ", "\\quoted"]) == "it's \\quoted"
        cur = conn.execute("SELECT 1; SELECT 2")
        assert cur.fetchone() == (1,)
        assert cur.nextset() and cur.fetchone() == (2,)


def test_raw_cursor(proxy):
    with proxy.connect("app", "prod", cursor_factory=psycopg.RawCursor) as conn:
        assert one(conn, "SELECT $1::int + $2::int", [40, 2]) == 42


def test_prepared_statements(conn):
    for _ in range(3):
        for i in range(10):
            assert one(conn, f"SELECT %s::int + {i}", [i], prepare=True) == 2 * i


def test_more_prepared_statements_than_any_cache(proxy):
    with proxy.connect("app", "int") as conn:
        conn.prepared_max = 2000
        for turn in range(2):
            for i in range(1200):
                assert one(conn, f"SELECT {i} + %s::int", [turn], prepare=True) == i + turn


def test_prepared_statement_evicted_by_the_client(proxy):
    with proxy.connect("app", "prod") as conn:
        conn.prepared_max = 3
        for _ in range(2):
            for i in range(20):
                assert one(conn, f"SELECT {i} * %s::int", [2], prepare=True) == 2 * i


def test_prepared_statement_after_its_table_changed(proxy, cluster):
    with cluster.connect("app_int") as ddl, proxy.connect("app", "int") as conn:
        ddl.execute("DROP TABLE IF EXISTS evolving; CREATE TABLE evolving (a int); INSERT INTO evolving VALUES (1)")
        assert conn.execute("SELECT * FROM evolving", prepare=True).fetchone() == (1,)
        ddl.execute("ALTER TABLE evolving ADD COLUMN b int DEFAULT 2")
        # Postgres's own answer: the plan's result type may not change; after closing it the statement works again.
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
            conn.execute("SELECT * FROM evolving", prepare=True)
        conn.execute("DEALLOCATE ALL")
        assert conn.execute("SELECT * FROM evolving", prepare=False).fetchone() == (1, 2)


def test_deallocate_all_and_discard_all(conn):
    for command in ("DEALLOCATE ALL", "DISCARD ALL"):
        assert one(conn, "SELECT %s::int", [1], prepare=True) == 1
        conn.execute(command)
        assert one(conn, "SELECT %s::int", [2], prepare=True) == 2


def test_sql_prepare_and_execute(conn):
    conn.execute("PREPARE by_id (bigint) AS SELECT name FROM projects WHERE id = $1")
    assert one(conn, "EXECUTE by_id(5)") == "project 5"
    assert one(conn, "SELECT name FROM pg_prepared_statements WHERE name = 'by_id'") == "by_id"
    conn.execute("DEALLOCATE by_id")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        conn.execute("EXECUTE by_id(5)")
    conn.execute("SELECT 1")


# --- transactions ---


def test_transaction_blocks(rw):
    rw.execute("UPDATE projects SET status = 'active' WHERE id = 20")
    with rw.transaction():
        rw.execute("UPDATE projects SET status = 'one' WHERE id = 20")
        with pytest.raises(psycopg.errors.DivisionByZero), rw.transaction():
            rw.execute("UPDATE projects SET status = 'two' WHERE id = 20")
            rw.execute("SELECT 1/0")
    assert one(rw, "SELECT status FROM projects WHERE id = 20") == "one"
    with pytest.raises(RuntimeError), rw.transaction():
        rw.execute("UPDATE projects SET status = 'three' WHERE id = 20")
        raise RuntimeError
    assert one(rw, "SELECT status FROM projects WHERE id = 20") == "one"


def test_failed_transaction(conn):
    conn.autocommit = False
    conn.execute("SELECT 1")
    with pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("SELECT * FROM nosuch")
    assert conn.info.transaction_status == pq.TransactionStatus.INERROR
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        conn.execute("SELECT 1")
    conn.rollback()
    assert one(conn, "SELECT 1") == 1


def test_isolation_level_is_kept(rw):
    rw.autocommit = False
    rw.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    assert one(rw, "SHOW transaction_isolation") == "serializable"
    rw.rollback()
    rw.isolation_level = None
    assert one(rw, "SHOW transaction_isolation") == "read committed"
    rw.rollback()


def test_two_phase_commit_works_on_int(proxy, cluster):
    with proxy.connect("app", "int", autocommit=False) as conn:
        xid = conn.xid(1, "pgbelay", "branch")
        conn.tpc_begin(xid)
        conn.execute("UPDATE projects SET status = 'prepared' WHERE id = 21")
        conn.tpc_prepare()
        conn.tpc_rollback()
        assert one(conn, "SELECT status FROM projects WHERE id = 21") != "prepared"


@pytest.mark.needs_proxy
def test_two_phase_commit_is_refused_on_prod(proxy, cluster):
    # Closed without its commit: psycopg believes to be in the middle of a two-phase transaction.
    with contextlib.closing(proxy.connect("app", "prod", autocommit=False)) as conn:
        conn.tpc_begin(conn.xid(1, "pgbelay", "refused"))
        conn.execute("UPDATE projects SET status = 'prepared' WHERE id = 21")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
            conn.tpc_prepare()
        assert refusal.value.diag.message_detail.startswith("rule ")
    with cluster.admin("app_prod") as check:
        assert check.execute("SELECT count(*) FROM pg_prepared_xacts").fetchone() == (0,)
        assert check.execute("SELECT count(*) FROM projects WHERE status = 'prepared'").fetchone() == (0,)


# --- pipelines ---


def test_pipeline(conn):
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int", [i]) for i in range(100)]
    assert [c.fetchone()[0] for c in cursors] == list(range(100))


def test_pipeline_with_an_error_in_the_middle(conn):
    """Through libpq's own calls: psycopg fetches when it finds time, and raises then."""
    pgconn = conn.pgconn
    pgconn.enter_pipeline_mode()
    for batch in (["SELECT 1"], ["SELECT 2", "SELECT 1/0", "SELECT 3"], ["SELECT 4"]):
        for query in batch:
            pgconn.send_query_params(query.encode(), None)
        pgconn.pipeline_sync()
    statuses = []
    while len(statuses) < 8:
        # A null result stands between the answers of two statements.
        if result := pgconn.get_result():
            statuses.append(pq.ExecStatus(result.status))
    rows, sync, error, aborted = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.PIPELINE_SYNC, pq.ExecStatus.FATAL_ERROR,
                                  pq.ExecStatus.PIPELINE_ABORTED)
    assert statuses == [rows, sync, rows, error, aborted, sync, rows, sync]
    pgconn.exit_pipeline_mode()
    assert one(conn, "SELECT 5") == 5


def test_pipeline_of_writes(rw):
    with rw.pipeline():
        rw.execute("UPDATE email_drafts SET status = 'piped' WHERE id = 30")
        rw.execute("UPDATE email_drafts SET status = 'piped' WHERE id = 31")
        counted = rw.execute("SELECT count(*) FROM email_drafts WHERE status = 'piped' AND id IN (30, 31)")
    assert counted.fetchone() == (2,)


def test_executemany(rw):
    cur = rw.cursor()
    cur.executemany("UPDATE email_drafts SET subject = %s WHERE id = %s", [(f"many {i}", i) for i in range(100, 200)])
    assert cur.rowcount == 100
    cur.executemany("INSERT INTO email_threads (subject) VALUES (%s) RETURNING id", [("a",), ("b",)], returning=True)
    first = cur.fetchone()[0]
    assert cur.nextset() and cur.fetchone()[0] > first


# --- COPY ---


def test_copy_out(conn):
    with conn.cursor().copy("COPY (SELECT id, name FROM projects WHERE id <= 3 ORDER BY id) TO STDOUT") as copy:
        assert list(copy.rows()) == [("1", "project 1"), ("2", "project 2"), ("3", "project 3")]
    assert one(conn, "SELECT 1") == 1


def test_copy_out_cancelled(rw):
    """An application: a person on prod would run into the row limit first."""
    with pytest.raises(psycopg.errors.QueryCanceled), \
            rw.cursor().copy("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT") as copy:
        assert copy.read()
        rw.cancel_safe()
        while copy.read():
            pass
    assert one(rw, "SELECT 1") == 1


@pytest.mark.parametrize("form", ["text", "binary"])
def test_copy_in(rw, form):
    cur = rw.cursor()
    with cur.copy(f"COPY email_threads (project_id, subject) FROM STDIN (FORMAT {form})") as copy:
        copy.set_types(["int8", "text"])
        for i in range(500):
            copy.write_row((i % 50 + 1, f"copy-{form}"))
    assert cur.rowcount == 500
    assert one(rw, "SELECT count(*) FROM email_threads WHERE subject = %s", [f"copy-{form}"]) == 500
    rw.execute("DELETE FROM email_threads WHERE subject = %s", [f"copy-{form}"])


def test_copy_in_of_many_rows_on_int(proxy):
    with proxy.connect("app", "int") as conn:
        with conn.cursor().copy("COPY email_threads (project_id, subject) FROM STDIN") as copy:
            for _ in range(200):
                copy.write("1\tbulk load of a longer subject line\n" * 1000)
        assert conn.execute("DELETE FROM email_threads WHERE subject LIKE 'bulk load%'").rowcount == 200_000


def test_copy_in_given_up_by_the_client(rw):
    with pytest.raises(RuntimeError), rw.cursor().copy("COPY email_threads (project_id, subject) FROM STDIN") as copy:
        copy.write_row((1, "given up"))
        raise RuntimeError
    assert one(rw, "SELECT count(*) FROM email_threads WHERE subject = 'given up'") == 0


def test_copy_in_failing_in_the_middle(rw):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation), \
            rw.cursor().copy("COPY email_threads (project_id, subject) FROM STDIN") as copy:
        for i in range(20_000):
            copy.write(b"1\tfine\n" if i != 100 else b"bad\tbad\n")
    assert one(rw, "SELECT count(*) FROM email_threads WHERE subject = 'fine'") == 0


@pytest.mark.needs_proxy
def test_copy_in_is_refused_for_a_read_only_session(proxy):
    with proxy.connect("alice", "prod") as conn:
        with pytest.raises(psycopg.Error) as refusal, conn.cursor().copy("COPY email_threads (subject) FROM STDIN") as copy:
            copy.write("x\n")
        assert refusal.value.sqlstate == "25006"
        assert one(conn, "SELECT 1") == 1


# --- cursors ---


def test_server_side_cursor(conn):
    with conn.transaction(), conn.cursor(name="drafts") as cur:
        cur.itersize = 97
        cur.execute("SELECT id FROM email_drafts WHERE id <= 1000 ORDER BY id")
        got = [row[0] for row in cur]
    assert got == sorted(got) and len(got) > 900


def test_scrollable_cursor_with_hold(conn):
    with conn.cursor(name="held", scrollable=True, withhold=True) as cur:
        cur.execute("SELECT i FROM generate_series(1, 10) i")
        assert [r[0] for r in cur.fetchmany(3)] == [1, 2, 3]
        cur.scroll(-2)
        assert cur.fetchone() == (2,)
        assert one(conn, "SELECT 'in between'") == "in between"
        assert cur.fetchone() == (3,)


def test_streaming_row_by_row(conn):
    got = [row[0] for row in conn.cursor().stream("SELECT i FROM generate_series(1, 5000) i")]
    assert got == list(range(1, 5001))


# --- notices, notifications ---


def test_notices(proxy):
    with proxy.connect("app", "int") as conn:
        seen = []
        conn.add_notice_handler(lambda diag: seen.append((diag.severity, diag.message_primary)))
        conn.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
        assert seen == [("NOTICE", "first"), ("WARNING", "second")]


def test_listen_and_notify(proxy):
    with proxy.connect("app", "int") as listener, proxy.connect("app", "int") as other, proxy.connect("app", "int") as sender:
        listener.execute("LISTEN news")
        for i in range(3):
            sender.execute("SELECT pg_notify('news', %s)", [f"item {i}"])
        assert [n.payload for n in listener.notifies(timeout=5, stop_after=3)] == ["item 0", "item 1", "item 2"]
        other.execute("SELECT 1")
        assert list(other.notifies(timeout=0.2)) == []
        listener.execute("UNLISTEN *")
        sender.execute("NOTIFY news, 'late'")
        assert list(listener.notifies(timeout=0.2)) == []


def test_notification_arrives_while_idle(proxy):
    """No statement of the listener is needed for it to be delivered."""
    with proxy.connect("app", "prod") as listener, proxy.connect("app", "prod") as sender:
        listener.execute("LISTEN idle_news")
        timer = threading.Timer(0.3, lambda: sender.execute("NOTIFY idle_news, 'now'"))
        timer.start()
        assert [n.payload for n in listener.notifies(timeout=5, stop_after=1)] == ["now"]
        timer.join()


# --- cancel ---


def cancel_with_pqcancel(conn):
    conn.pgconn.get_cancel().cancel()


def cancel_safely(conn):
    conn.cancel_safe()


@pytest.mark.parametrize("cancel", [cancel_with_pqcancel, cancel_safely])
def test_cancel(proxy, cancel):
    with proxy.connect("app", "int") as conn, proxy.connect("app", "int") as other:
        done = threading.Event()

        def keep_cancelling():
            # The first may come before the statement has begun.
            while not done.wait(0.2):
                cancel(conn)

        thread = threading.Thread(target=keep_cancelling)
        thread.start()
        started = time.monotonic()
        try:
            with pytest.raises(psycopg.errors.QueryCanceled):
                conn.execute("SELECT pg_sleep(20)")
        finally:
            done.set()
            thread.join()
        assert time.monotonic() - started < 10
        assert one(other, "SELECT 'undisturbed'") == "undisturbed"


def test_cancel_of_an_idle_session_hits_nobody(proxy):
    """Also not the session that now uses the same connection to the server."""
    with proxy.connect("app", "int") as idle, proxy.connect("app", "int") as busy:
        one(idle, "SELECT 1")
        stop = threading.Event()

        def keep_cancelling():
            while not stop.is_set():
                idle.cancel_safe()

        thread = threading.Thread(target=keep_cancelling)
        thread.start()
        try:
            for _ in range(30):
                assert one(busy, "SELECT count(*) FROM generate_series(1, 50000)") == 50000
        finally:
            stop.set()
            thread.join()
        # The last cancel may still be on its way to the idle session's next statement, as with Postgres.
        busy.execute("SELECT 1")


# --- errors ---


def test_error_fields_are_those_of_postgres(rw):
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as violation:
        rw.execute("INSERT INTO workflow_instances (project_id) VALUES (-1)")
    diag = violation.value.diag
    assert (diag.table_name, diag.constraint_name) == ("workflow_instances", "workflow_instances_project_id_fkey")
    assert "is not present in table" in diag.message_detail
    with pytest.raises(psycopg.errors.UniqueViolation):
        rw.execute("INSERT INTO projects (id) VALUES (1)")


def test_deferred_constraint_fails_at_commit(rw, cluster, proxy):
    database = one(rw, "SELECT current_database()")
    with cluster.connect(database) as ddl:
        ddl.execute("DROP TABLE IF EXISTS deferred;"
                    " CREATE TABLE deferred (id int PRIMARY KEY, parent int REFERENCES deferred DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        rw.execute("INSERT INTO deferred VALUES (1, 99)")
    assert one(rw, "SELECT count(*) FROM deferred") == 0
    rw.execute("INSERT INTO deferred VALUES (1, 1)")
    assert one(rw, "SELECT count(*) FROM deferred") == 1


@pytest.mark.needs_proxy
@pytest.mark.parametrize("cursor", [psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor])
def test_refusal_as_an_exception(proxy, cursor):
    with proxy.connect("app", "prod", cursor_factory=cursor) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
            conn.execute("DELETE FROM email_drafts")
        diag = refusal.value.diag
        assert diag.severity == "ERROR"
        assert diag.message_primary == "DELETE without an effective WHERE is not allowed on prod"
        assert diag.message_detail.startswith("rule unbounded-write: ")
        assert diag.message_hint == "Restrict the rows, for example WHERE id = ..., or try it on app:stg first."
        assert one(conn, "SELECT 1") == 1


@pytest.mark.needs_proxy
def test_parameter_as_the_whole_predicate_is_refused(proxy):
    with proxy.connect("app", "prod") as conn:
        for query in ("DELETE FROM email_drafts WHERE %s", "DELETE FROM email_drafts WHERE %s OR false", "DELETE FROM email_drafts WHERE true OR id = %s::int::bool::int"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(query, [True])


@pytest.mark.needs_proxy
def test_function_call_is_refused(proxy):
    """PQfn is not in psycopg; the bytes of a FunctionCall are."""
    with proxy.wire_login("app", "prod") as wire:
        wire.send(w.function_call(1598))
        assert w.errors(wire.until()) == ["0A000"]


def test_identifiers_are_quoted_through(rw):
    name = sql.Identifier('odd "name" ☃')
    rw.execute(sql.SQL("CREATE TEMP TABLE {} (a int)").format(name))
    rw.execute(sql.SQL("INSERT INTO {} VALUES (1), (2)").format(name))
    assert one(rw, sql.SQL("SELECT sum(a) FROM {}").format(name)) == 3
    rw.execute(sql.SQL("DROP TABLE pg_temp.{}").format(name))


def test_psycopg_async(proxy):
    import asyncio

    async def run():
        login = proxy.login("app", "prod")
        async with await psycopg.AsyncConnection.connect(autocommit=True, **login) as conn:
            cur = await conn.execute("SELECT %s::int", [5])
            assert await cur.fetchone() == (5,)
            async with conn.pipeline():
                cursors = [await conn.execute("SELECT %s::int", [i]) for i in range(20)]
            assert [(await c.fetchone())[0] for c in cursors] == list(range(20))

    asyncio.run(run())
