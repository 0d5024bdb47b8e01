"""Time limits and row limits."""

import time

import psycopg
import pytest

from support import wire as w
from support.ports import wait_until
from support.sessions import rows, status
from support.wire import SYNC, bind, execute, kinds, parse, query

pytestmark = pytest.mark.needs_proxy

ROWS_WRITTEN = 10
ROWS_RETURNED = 100


@pytest.fixture(scope="module")
def timed(make_module_proxy):
    """int: short statements; stg: short idle transactions; prod: short sessions of people."""
    return make_module_proxy({"tiers": {
        "int": {"statement_timeout": "1s", "lock_timeout": "500ms"},
        "stg": {"idle_in_transaction_timeout": "700ms", "statement_timeout": "5s"},
        "prod": {"session_limit": "2s"},
    }})


def shown(conn, setting):
    return conn.execute(f"SHOW {setting}").fetchone()[0]


# --- statement time ---


@pytest.mark.parametrize("cursor", [psycopg.ClientCursor, psycopg.Cursor], ids=["simple", "extended"])
def test_statement_over_its_time(timed, cluster, cursor):
    with timed.connect("app", "int", cursor_factory=cursor) as conn:
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(20), 'too long'")
        assert 0.8 < time.monotonic() - started < 5
        assert conn.execute("SELECT 1").fetchone() == (1,)
    with cluster.admin() as admin:
        assert not admin.execute("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%too long%' AND pid <> pg_backend_pid()").fetchone()


def test_limit_is_set_on_the_server(timed):
    with timed.connect("app", "int") as conn:
        assert conn.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')").fetchone() == ("1s", "500ms")


def test_client_may_lower_a_limit(timed):
    with timed.connect("app", "int") as conn:
        conn.execute("SET statement_timeout = '200ms'")
        assert shown(conn, "statement_timeout") == "200ms"
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - started < 0.9
        conn.execute("RESET statement_timeout")
        assert shown(conn, "statement_timeout") == "1s"


@pytest.mark.parametrize("statement", [
    "SET statement_timeout = '10h'",
    "SET statement_timeout = 0",
    "SET statement_timeout TO DEFAULT",
    "SET SESSION statement_timeout TO '2s'",
    'SET "statement_timeout" = 2000',
    "SET Statement_Timeout = '1min'",
    "SET statement_timeout = '0'",
    "BEGIN; SET LOCAL statement_timeout = 0",
])
def test_client_cannot_raise_a_limit(timed, statement):
    with timed.connect("app", "int", cursor_factory=psycopg.ClientCursor) as conn:
        notices = []
        conn.add_notice_handler(lambda diag: notices.append(diag.message_primary))
        conn.execute(statement)
        assert shown(conn, "statement_timeout") == "1s"
        if "DEFAULT" not in statement:
            assert len(notices) == 1 and "statement_timeout" in notices[0]
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - started < 5


def test_limit_raised_at_startup_is_kept(timed):
    with timed.connect("app", "int", options="-c statement_timeout=0") as conn:
        assert shown(conn, "statement_timeout") == "1s"
    with timed.connect("app", "int", options="-c statement_timeout=300ms") as conn:
        assert shown(conn, "statement_timeout") == "300ms"
        conn.execute("RESET ALL")
        assert shown(conn, "statement_timeout") == "300ms"


def test_lowered_limit_does_not_reach_others(timed):
    with timed.connect("app", "int") as a, timed.connect("app", "int") as b:
        for _ in range(5):
            a.execute("SET statement_timeout = '150ms'")
            a.execute("SELECT 1")
            assert shown(b, "statement_timeout") == "1s"
            assert b.execute("SELECT pg_sleep(0.25)").fetchone()


def test_waiting_for_a_lock(timed, cluster):
    with cluster.connect("app_int", autocommit=False) as holder, timed.connect("app", "int") as conn:
        holder.execute("UPDATE projects SET name = name WHERE id = 25")
        started = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute("UPDATE projects SET name = name WHERE id = 25")
        assert time.monotonic() - started < 0.95
        holder.rollback()


def test_time_outside_statements_does_not_count(timed):
    with timed.connect("app", "int") as conn:
        conn.execute("SELECT 1")
        conn.execute("BEGIN")
        time.sleep(1.2)
        assert conn.execute("SELECT 1").fetchone() == (1,)
        conn.execute("COMMIT")


# --- idle in a transaction, session time ---


def test_idle_in_a_transaction(timed, cluster):
    with timed.connect("app", "stg") as conn:
        conn.execute("BEGIN")
        conn.execute("UPDATE projects SET status = 'idle' WHERE id = 26")

        def unlocked():
            with cluster.connect("app_stg") as check:
                return check.execute("SELECT status FROM projects WHERE id = 26 FOR UPDATE SKIP LOCKED").fetchone()

        assert wait_until(unlocked, "the transaction is ended", 6)[0] != "idle"
        with pytest.raises(psycopg.Error) as ended:
            conn.execute("SELECT 1")
        assert ended.value.sqlstate in ("25P03", None), ended.value
    timed.wait_record("limit", sqlstate="25P03")


def test_idle_in_transaction_limit_cannot_be_raised(timed):
    with timed.connect("app", "stg") as conn:
        conn.execute("SET idle_in_transaction_session_timeout = 0")
        assert shown(conn, "idle_in_transaction_session_timeout") == "700ms"


def test_idle_outside_a_transaction_is_no_problem(timed):
    with timed.connect("app", "stg") as conn:
        conn.execute("SELECT 1")
        time.sleep(1.2)
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_session_limit_ends_a_persons_session(timed):
    with timed.wire_login("alice", "prod") as wire:
        started = time.monotonic()
        messages = wire.rest()
        assert 1 < time.monotonic() - started < 8
        assert w.errors(messages) == ["57P05"]
        assert messages[-1].fields()["S"] == "FATAL" and messages[-1].fields()["H"]
    timed.wait_record("limit", sqlstate="57P05", user="alice")


def test_session_limit_in_the_middle_of_a_transaction(timed):
    with timed.wire_login("alice", "prod") as wire:
        wire.simple("BEGIN")
        wire.simple("SELECT 1")
        assert w.errors(wire.rest()) == ["57P05"]


def test_applications_have_no_session_limit(timed):
    with timed.connect("app", "prod") as conn:
        time.sleep(2.5)
        assert conn.execute("SELECT 1").fetchone() == (1,)


# --- rows written ---


@pytest.fixture(scope="module")
def counted(cluster, make_module_proxy):
    """prod: writes of at most 10 rows, reads of people of at most 100, in a database of its own."""
    name = cluster.create_database("limits_prod")
    return make_module_proxy({"tiers": {"prod": {"max_rows_written": ROWS_WRITTEN, "max_rows_returned": ROWS_RETURNED}}},
                             {("app", "prod"): name})


@pytest.fixture
def table(cluster):
    """A table of 100 rows; returns what it holds now."""
    with cluster.connect("limits_prod") as conn:
        conn.execute("DROP TABLE IF EXISTS counted; CREATE TABLE counted (id int PRIMARY KEY, v int);"
                     " INSERT INTO counted SELECT i, 0 FROM generate_series(1, 100) i")
        yield lambda: conn.execute("SELECT count(*)::int, sum(v)::int FROM counted").fetchone()


OVER = [
    "UPDATE counted SET v = 1 WHERE id <= 11",
    "UPDATE counted SET v = 1 WHERE id > 0",
    "DELETE FROM counted WHERE id <= 11",
    "INSERT INTO counted SELECT i, 0 FROM generate_series(101, 111) i",
    "INSERT INTO counted SELECT i, 1 FROM generate_series(1, 11) i ON CONFLICT (id) DO UPDATE SET v = 1",
    "MERGE INTO counted c USING generate_series(1, 11) i ON c.id = i WHEN MATCHED THEN UPDATE SET v = 1",
    "UPDATE counted SET v = 1 WHERE id <= 11 RETURNING id",
    "UPDATE counted SET v = 1 WHERE id = 1; UPDATE counted SET v = 1 WHERE id <= 11",
    "UPDATE counted SET v = 1 WHERE id <= 11; UPDATE counted SET v = 1 WHERE id = 1",
]


@pytest.mark.parametrize("statement", OVER)
def test_write_over_the_limit_is_undone(counted, table, statement):
    before = table()
    with counted.wire_login("app", "prod") as wire:
        answer = wire.simple(statement)
        assert w.errors(answer) == ["54000"]
        fields = [m for m in answer if m.kind == "E"][0].fields()
        assert fields["H"] and str(ROWS_WRITTEN) in fields["M"] + fields["D"]
        assert status(answer) == "I"
        assert kinds(wire.simple("SELECT 1")) == "TDCZ"
    assert table() == before


@pytest.mark.parametrize("statement, tag", [
    ("UPDATE counted SET v = 1 WHERE id <= 10", "UPDATE 10"),
    ("DELETE FROM counted WHERE id <= 10", "DELETE 10"),
    ("INSERT INTO counted SELECT i, 1 FROM generate_series(101, 110) i", "INSERT 0 10"),
    ("UPDATE counted SET v = 1 WHERE id = -1", "UPDATE 0"),
])
def test_write_within_the_limit(counted, table, statement, tag):
    """The client sees its own statement's messages only."""
    before = table()
    with counted.wire_login("app", "prod") as wire:
        answer = wire.simple(statement)
        assert kinds(answer) == "CZ" and status(answer) == "I"
        assert [m.tag for m in answer if m.kind == "C"] == [tag]
        assert not [m for m in answer if m.kind == "N"]
    assert (table() != before) == (not tag.endswith(" 0"))


def test_in_a_transaction_the_whole_transaction_fails(counted, table):
    before = table()
    with counted.wire_login("app", "prod") as wire:
        wire.simple("BEGIN")
        wire.simple("UPDATE counted SET v = 1 WHERE id = 1")
        answer = wire.simple(OVER[0])
        assert w.errors(answer) == ["54000"] and status(answer) == "E"
        assert w.errors(wire.simple("SELECT 1")) == ["25P02"]
        assert [m.tag for m in wire.simple("COMMIT") if m.kind == "C"] == ["ROLLBACK"]
    assert table() == before


def test_savepoint_before_the_write(counted, table):
    with counted.wire_login("app", "prod") as wire:
        wire.simple("BEGIN")
        wire.simple("UPDATE counted SET v = 1 WHERE id = 1")
        wire.simple("SAVEPOINT s")
        assert w.errors(wire.simple(OVER[0])) == ["54000"]
        assert status(wire.simple("ROLLBACK TO s")) == "T"
        assert [m.tag for m in wire.simple("COMMIT") if m.kind == "C"] == ["COMMIT"]
    assert table() == (100, 1)


def test_copy_over_the_limit(counted, table):
    before = table()
    with counted.wire_login("app", "prod") as wire:
        wire.send(query("COPY counted FROM STDIN"))
        wire.until("G")
        wire.send(w.copy_data(b"".join(b"%d\t0\n" % i for i in range(201, 231))), w.COPY_DONE)
        assert w.errors(wire.until()) == ["54000"]
        assert kinds(wire.simple("SELECT 1")) == "TDCZ"
    assert table() == before


def test_each_statement_is_counted_alone(counted, table):
    with counted.connect("app", "prod") as conn, conn.transaction():
        for start in range(0, 50, 10):
            conn.execute("UPDATE counted SET v = 1 WHERE id > %s AND id <= %s", [start, start + 10])
    assert table() == (100, 50)


def test_write_over_the_limit_by_the_extended_protocol(counted, table):
    before = table()
    with counted.wire_login("app", "prod") as wire:
        wire.send(parse(OVER[0]), bind(), execute(), SYNC)
        assert w.errors(wire.until()) == ["54000"]
        assert kinds(wire.simple("SELECT 1")) == "TDCZ"
    assert table() == before


def test_limit_is_recorded(counted, table):
    with counted.connect("app", "prod", application_name="limit-recorded") as conn:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            conn.execute(OVER[0], prepare=False)
    record = counted.wait_record("limit", application_name="limit-recorded")
    assert record["sqlstate"] == "54000" and "counted" in record["sql"]


# --- rows read ---


@pytest.mark.parametrize("statement", [
    "SELECT i FROM generate_series(1, 101) i",
    "SELECT * FROM email_drafts",
    "SELECT i FROM generate_series(1, 10000000) i",
    "COPY (SELECT i FROM generate_series(1, 101) i) TO STDOUT",
    "SELECT 1; SELECT i FROM generate_series(1, 101) i",
])
def test_read_over_the_limit(counted, statement):
    with counted.wire_login("alice", "prod") as wire:
        started = time.monotonic()
        answer = wire.simple(statement)
        assert w.errors(answer) == ["54000"]
        assert [m for m in answer if m.kind == "E"][0].fields()["H"]
        assert len([m for m in answer if m.kind in "Dd"]) <= ROWS_RETURNED + 1
        assert time.monotonic() - started < 5
        assert rows(wire.simple("SELECT 'goes on'")) == [["goes on"]]


def test_read_over_the_limit_by_the_extended_protocol(counted):
    with counted.wire_login("alice", "prod") as wire:
        wire.send(parse("SELECT i FROM generate_series(1, 1000) i"), bind(), execute(), parse("SELECT 'skipped'"), bind(), execute(), SYNC)
        answer = wire.until()
        assert w.errors(answer) == ["54000"] and ["skipped"] not in rows(answer)
        assert rows(wire.simple("SELECT 'goes on'")) == [["goes on"]]


def test_portal_in_pieces_counts_all_of_them(counted):
    with counted.wire_login("alice", "prod") as wire:
        wire.simple("BEGIN")
        wire.send(parse("SELECT i FROM generate_series(1, 1000) i"), bind(portal="p"), SYNC)
        wire.until()
        got, errors = 0, []
        for _ in range(30):
            wire.send(execute("p", 10), SYNC)
            answer = wire.until()
            got += len(rows(answer))
            if errors := w.errors(answer):
                break
        assert errors == ["54000"] and got <= ROWS_RETURNED + 10
        assert status(wire.simple("ROLLBACK")) == "I"


def test_read_within_the_limit(counted):
    with counted.connect("alice", "prod") as conn:
        assert len(conn.execute("SELECT i FROM generate_series(1, 100) i").fetchall()) == 100
        assert conn.execute("SELECT count(*) FROM email_drafts").fetchone() == (5000,)


def test_applications_read_without_limit(counted):
    with counted.connect("app", "prod") as conn:
        assert len(conn.execute("SELECT id FROM email_drafts").fetchall()) == 5000


def test_agents_have_the_limit_too(counted):
    with counted.connect("bot", "prod") as conn, pytest.raises(psycopg.errors.ProgramLimitExceeded):
        conn.execute("SELECT id FROM email_drafts")


# --- rows that the command tag does not tell ---

HIDDEN = "WITH gone AS (DELETE FROM counted WHERE id <= {} RETURNING id) SELECT count(*) FROM gone"


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_rows_written_inside_with_are_counted(counted, table, protocol, block):
    def run(wire, sql):
        if protocol == "simple":
            return wire.simple(sql)
        wire.send(parse(sql), bind(), execute(), SYNC)
        return wire.until()

    before = table()
    with counted.wire_login("app", "prod") as wire:
        if block:
            wire.simple("BEGIN")
        answer = run(wire, HIDDEN.format(ROWS_WRITTEN + 1))
        assert w.errors(answer) == ["54000"] and status(answer) == ("E" if block else "I")
        if block:
            wire.simple("COMMIT")
        assert table() == before
        answer = run(wire, HIDDEN.format(ROWS_WRITTEN))
        assert w.errors(answer) == [] and rows(answer) == [[str(ROWS_WRITTEN)]]
    assert table() != before


def test_function_that_makes_the_server_read_texts_otherwise_ends_the_session(cluster, make_proxy):
    """The text after it would be one statement to the proxy and several to the server."""
    database = cluster.create_database("otherwise")
    with cluster.connect(database) as ddl:
        ddl.execute("CREATE FUNCTION cfg(text, text) RETURNS text LANGUAGE sql AS 'SELECT set_config($1, $2, false)'")
    proxy = make_proxy(None, {("app", "prod"): database})
    for user in ("alice", "app"):
        with proxy.wire_login(user, "prod") as wire:
            wire.send(query("SELECT cfg('standard_conforming_strings', 'off')"))
            assert w.errors(wire.until("E", "Z")) == ["42501"]
            wire.rest()
        with cluster.connect(database) as check:
            count = check.execute("SELECT count(*) FROM email_drafts").fetchone()
        with proxy.wire_login(user, "prod") as wire:
            assert rows(wire.simple("SHOW standard_conforming_strings")) == [["on"]]
            assert rows(wire.simple("SELECT count(*) FROM email_drafts")) == [[str(count[0])]]


# --- metrics ---


def test_limits_that_were_hit_are_counted(make_proxy):
    """Once each, whatever the protocol; a limit that is only reported is not hit."""
    proxy = make_proxy({"tiers": {
        "int": {"max_rows_written": 2, "max_rows_returned": 3, "max_bytes_returned": "1KiB"},
        "stg": {"max_rows_written": 2, "max_rows_returned": 3,
                "rules": {"row-limit": {"mode": "report"}, "read-limit": {"mode": "report"}}},
    }})
    hit = ["UPDATE projects SET name = name WHERE id <= 3", "SELECT id FROM projects", "SELECT repeat('x', 5000)"]
    for cursor in (psycopg.ClientCursor, psycopg.Cursor):
        with proxy.connect("alice", "int", cursor_factory=cursor) as conn:
            for statement in hit:
                with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                    conn.execute(statement)
        with proxy.connect("alice", "stg", cursor_factory=cursor) as conn:
            conn.execute(hit[0])
            conn.execute(hit[1])
    counted = {(labels["tier"], labels["kind"]): n for labels, n in proxy.metrics()["pgbelay_limits_hit_total"]}
    assert counted == {("int", "rows_written"): 2, ("int", "rows_returned"): 2, ("int", "bytes_returned"): 2}
