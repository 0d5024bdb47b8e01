"""The EXPLAIN gate: what the planner expects of a statement is judged before it runs."""

import asyncio
import datetime

import asyncpg
import psycopg
import pytest

from support import wire as w
from support.sessions import rows, status
from support.wire import SYNC, bind, describe, execute, kinds, parse, query

pytestmark = pytest.mark.needs_proxy

COST = 5_000
ROWS = 100
LARGE = 200_000


@pytest.fixture(scope="module")
def database(cluster):
    """A table whose whole costs too much, and two that must not be combined."""
    name = cluster.create_database("gate_prod")
    with cluster.connect(name) as conn:
        conn.execute(f"""
            CREATE TABLE events (id int PRIMARY KEY, kind int, note text);
            INSERT INTO events SELECT i, i % 7, repeat('x', 100) FROM generate_series(1, {LARGE}) i;
            CREATE TABLE users (id int PRIMARY KEY, kind int);
            INSERT INTO users SELECT i, i % 5 FROM generate_series(1, 2000) i;
            CREATE TABLE kinds (id int, name text);
            INSERT INTO kinds VALUES (1, 'a'), (2, 'b');
            CREATE VIEW everything AS SELECT e.id, u.id AS uid FROM events e, users u;
            ANALYZE""")
    return name


@pytest.fixture(scope="module")
def gated(cluster, database, make_module_proxy):
    """prod with limits on plans: cost and rows for engineers, cost for the application."""
    writing = {"access": "read-write", "max_rows_written": "none"}
    return make_module_proxy(
        {"roles": {"engineer": {"prod": {"max_estimated_cost": COST, **writing}},
                   "agent": {"prod": {"max_estimated_rows": ROWS, **writing}},
                   "admin": {"prod": {"join_without_condition": "confirm", **writing}},
                   "service": {"prod": {"max_rows_written": 10}}}},
        {("app", "prod"): database})


def refused(conn, statement, *args, rule="estimated-cost"):
    """The diagnostics of the refusal of a statement."""
    with pytest.raises(psycopg.errors.ProgramLimitExceeded) as error:
        conn.execute(statement, *args)
    assert error.value.diag.message_detail.startswith(f"rule {rule}: "), error.value.diag.message_detail
    return error.value.diag


TOO_COSTLY = [
    "SELECT * FROM events",
    "SELECT count(*) FROM events WHERE note LIKE '%y%'",
    "WITH e AS MATERIALIZED (SELECT * FROM events) SELECT count(*) FROM e",
    "TABLE events",
    "UPDATE events SET kind = 1 WHERE note = 'y'",
    "DELETE FROM events WHERE note = 'y'",
    "INSERT INTO kinds SELECT id, note FROM events",
    "MERGE INTO events e USING kinds k ON e.kind = k.id WHEN MATCHED THEN DO NOTHING",
    "CREATE TEMP TABLE copied AS SELECT * FROM events",
    "SELECT * INTO TEMP copied FROM events",
    "EXPLAIN ANALYZE SELECT * FROM events",
    "EXPLAIN (ANALYZE, TIMING off) SELECT * FROM events",
    "COPY events TO STDOUT",
    "COPY (SELECT * FROM events) TO STDOUT",
    "SELECT id FROM events FOR UPDATE",
]

CHEAP = [
    "SELECT * FROM events WHERE id = 5",
    "SELECT * FROM events LIMIT 5",
    "SELECT count(*) FROM users",
    "UPDATE events SET kind = 1 WHERE id = 5",
    "EXPLAIN SELECT * FROM events",
    "EXPLAIN ANALYZE SELECT * FROM users",
    "CREATE TEMP TABLE few AS SELECT * FROM events WHERE id < 5",
    "SELECT 1",
    "SELECT now()",
    "VALUES (1), (2)",
    "SELECT count(*) FROM pg_class a, pg_class b",
    "SHOW server_version",
]


@pytest.mark.parametrize("statement", TOO_COSTLY)
@pytest.mark.parametrize("how", ["simple", "extended", "several", "block"])
def test_too_costly(gated, statement, how):
    with gated.wire_login("alice", "prod") as wire:
        if how == "block":
            wire.simple("BEGIN")
        if how == "extended":
            wire.send(parse(statement), bind(), execute(), SYNC)
            answer = wire.until()
        else:
            answer = wire.simple(f"SELECT 1; {statement}; SELECT 2" if how == "several" else statement)
        assert w.errors(answer) == ["54000"], answer
        fields = [m for m in answer if m.kind == "E"][0].fields()
        assert "5,000" in fields["M"] and fields["D"].startswith("rule estimated-cost: ")
        assert "public.events" in fields["H"], fields["H"]
        assert kinds(answer) == {"simple": "EZ", "block": "EZ", "extended": "12EZ"[:1] + "EZ", "several": "TDCEZ"}[how]
        assert status(answer) == ("E" if how == "block" else "I")
        if how == "block":
            assert w.errors(wire.simple("SELECT 1")) == ["25P02"]
            assert [m.tag for m in wire.simple("COMMIT") if m.kind == "C"] == ["ROLLBACK"]
        assert rows(wire.simple("SELECT count(*) FROM users")) == [["2000"]]


@pytest.mark.parametrize("statement", CHEAP)
@pytest.mark.parametrize("how", ["simple", "extended", "several", "block"])
def test_cheap(gated, statement, how):
    with gated.wire_login("alice", "prod") as wire:
        wire.simple("BEGIN")
        if how == "extended":
            wire.send(parse(statement), bind(), describe("P"), execute(), SYNC)
            answer = wire.until()
        else:
            answer = wire.simple(f"SELECT 1; {statement}" if how == "several" else statement)
        assert w.errors(answer) == [] and status(answer) == "T", answer
        wire.simple("ROLLBACK")


def test_the_hint_names_the_worst_step(gated):
    with gated.connect("alice", "prod") as conn:
        diag = refused(conn, "SELECT e.id FROM events e JOIN users u ON u.id = e.kind ORDER BY e.note")
        assert "The costliest step is " in diag.message_hint and "200,000 rows" in diag.message_hint


def test_rows(gated):
    with gated.connect("bot", "prod") as conn:
        diag = refused(conn, "SELECT * FROM users", rule="estimated-rows")
        assert "2,000 rows" in diag.message_primary and "limit of 100" in diag.message_primary
        refused(conn, "UPDATE users SET kind = 1 WHERE id > 100", rule="estimated-rows")
        refused(conn, "WITH gone AS (DELETE FROM users WHERE id > 100 RETURNING id) SELECT count(*) FROM gone",
                rule="estimated-rows")
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (2000,)
        assert len(conn.execute("SELECT * FROM users LIMIT 50").fetchall()) == 50


def test_joins_without_a_condition(gated):
    """By default people may not."""
    with gated.connect("ann", "prod") as conn:
        for statement in ["SELECT count(*) FROM events, users", "SELECT count(*) FROM everything",
                          "SELECT count(*) FROM events e CROSS JOIN users u WHERE e.kind < 5 AND u.kind < 3",
                          "SELECT e.id FROM events e, users u ORDER BY u.id, e.id LIMIT 5"]:
            diag = refused(conn, statement, rule="join-without-condition")
            assert "public.events" in diag.message_detail and "public.users" in diag.message_detail
        for statement in ["SELECT count(*) FROM events e JOIN users u ON u.id = e.kind",
                          "SELECT count(*) FROM events e JOIN users u ON u.id < e.kind",
                          "SELECT count(*) FROM users u, LATERAL (SELECT * FROM events e WHERE e.id = u.id) e",
                          "SELECT count(*) FROM events, kinds",
                          "SELECT count(*) FROM users CROSS JOIN generate_series(1, 1000)",
                          "SELECT count(*) FROM users, LATERAL (VALUES (users.id), (users.kind)) v",
                          "SELECT e.id, u.id FROM events e, users u LIMIT 5",
                          "SELECT count(*) FROM events WHERE EXISTS (SELECT FROM users)",
                          "SELECT count(*) FROM events e, users u WHERE e.id = u.id AND u.kind = 3"]:
            conn.execute(statement)


def test_with_parameters(gated):
    """The plan is that of the statement with its own parameters."""
    with gated.connect("alice", "prod", cursor_factory=psycopg.Cursor) as conn:
        statement = "SELECT count(*) FROM events WHERE id <= %s AND note LIKE %s"
        for prepare in (False, True, True):
            assert conn.execute(statement, [500, "x%"], prepare=prepare).fetchone() == (500,)
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                conn.execute(statement, [LARGE, "x%"], prepare=prepare)
        assert conn.execute(statement, [5, None], binary=True).fetchone() == (0,)


def test_in_a_pipeline(gated):
    with gated.connect("alice", "prod") as conn:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded), conn.pipeline():
            conn.execute("UPDATE users SET kind = 77 WHERE id = 1")
            conn.execute("SELECT * FROM events")
        assert conn.execute("SELECT kind FROM users WHERE id = 1").fetchone() == (1,), "one transaction up to Sync"
    with gated.wire_login("alice", "prod") as wire:
        wire.send(parse("SELECT 1"), bind(), execute(), parse("SELECT * FROM events WHERE id = $1"), bind(values=["3"]),
                  execute(), parse("SELECT note FROM events"), bind(), execute(), parse("SELECT 2"), bind(), execute(), SYNC)
        answer = wire.until()
        assert kinds(answer) == "12DC12DC1EZ" and w.errors(answer) == ["54000"]
        assert rows(wire.simple("SELECT 3")) == [["3"]]


def test_a_cursor(gated):
    with gated.connect("alice", "prod", autocommit=False) as conn:
        refused(conn, "DECLARE c CURSOR FOR SELECT * FROM events")
        conn.rollback()
        with conn.cursor(name="few") as cursor:
            cursor.execute("SELECT id FROM events WHERE id < %s ORDER BY id", [4])
            assert cursor.fetchall() == [(1,), (2,), (3,)]
        conn.rollback()
        with conn.cursor(name="all") as cursor, pytest.raises(psycopg.errors.ProgramLimitExceeded):
            cursor.execute("SELECT id FROM events")


def test_execute_of_a_prepared_statement(gated):
    with gated.connect("alice", "prod", cursor_factory=psycopg.ClientCursor) as conn:
        conn.execute("PREPARE p (int) AS SELECT count(*) FROM events WHERE id <= $1")
        assert conn.execute("EXECUTE p(5)").fetchone() == (5,)
        refused(conn, f"EXECUTE p({LARGE})")


def test_same_state_as_the_statement(gated):
    """In the client's transaction, with its tables and its settings."""
    with gated.connect("alice", "prod", autocommit=False) as conn:
        conn.execute("CREATE TEMP TABLE own AS SELECT id FROM users")
        assert conn.execute("SELECT count(*) FROM own").fetchone() == (2000,)
        conn.execute("SET LOCAL search_path = pg_temp")
        assert conn.execute("SELECT count(*) FROM own").fetchone() == (2000,)
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT * FROM events")
        conn.rollback()
        conn.execute("SET search_path = public")
        refused(conn, "SELECT * FROM events")
        conn.rollback()


@pytest.mark.parametrize("how", ["simple", "extended", "several", "block"])
def test_the_servers_own_error(gated, how):
    """A statement that cannot be planned fails with its own error, at its own place."""
    statement = "SELECT id,\n nope FROM events"
    text = f"SELECT 'é'; {statement}" if how == "several" else statement
    with gated.wire_login("alice", "prod") as wire:
        if how == "block":
            wire.simple("BEGIN")
        if how == "extended":
            wire.send(parse(text), bind(), execute(), SYNC)
            answer = wire.until()
        else:
            answer = wire.simple(text)
        fields = [m for m in answer if m.kind == "E"][0].fields()
        assert fields["C"] == "42703" and "nope" in fields["M"] and "D" not in fields
        assert int(fields["P"]) == text.index("nope") + 1
        assert status(answer) == ("E" if how == "block" else "I")
        if how == "block":
            wire.simple("ROLLBACK")
        assert rows(wire.simple("SELECT count(*) FROM users")) == [["2000"]]


def test_errors_at_bind(gated):
    """What EXPLAIN leaves behind when it fails does not get into the way of the next."""
    with gated.connect("alice", "prod") as conn:
        for _ in range(3):
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                conn.execute("SELECT * FROM events WHERE id = %s::int", ["x"])
            assert conn.execute("SELECT id FROM events WHERE id = %s", [7]).fetchone() == (7,)


@pytest.mark.parametrize("name", ["", "mine"])
def test_errors_at_bind_tell_the_clients_names(gated, name):
    with gated.wire_login("alice", "prod") as wire:
        wire.send(parse("SELECT * FROM events WHERE id = $1::int", name), bind(name, name, ("x",)), SYNC)
        (error,) = [m.fields() for m in wire.until() if m.kind == "E"]
        portal = f'portal "{name}"' if name else "unnamed portal"
        assert error["C"] == "22P02" and error["W"].startswith(f"{portal} parameter $1"), error
        wire.send(parse("SELECT * FROM events WHERE id = $1::int", "other"), bind("other", name), SYNC)
        (error,) = [m.fields() for m in wire.until() if m.kind == "E"]
        assert error["M"] == 'bind message supplies 0 parameters, but prepared statement "other" requires 1'


def test_a_simple_query_has_no_parameters(gated):
    with gated.wire_login("alice", "prod") as wire:
        (error,) = [m.fields() for m in wire.simple("SELECT * FROM events WHERE id = $1") if m.kind == "E"]
        assert (error["C"], error["M"]) == ("42P02", "there is no parameter $1")


def test_warnings(cluster, database, make_proxy):
    proxy = make_proxy({"roles": {"engineer": {"prod": {"join_without_condition": "warn"}}}}, {("app", "prod"): database})
    for factory in (psycopg.ClientCursor, psycopg.Cursor):
        with proxy.connect("alice", "prod", cursor_factory=factory) as conn:
            notices = []
            conn.add_notice_handler(lambda diag: notices.append(diag.message_detail))
            conn.execute("SET max_parallel_workers_per_gather = 0")
            assert conn.execute("SELECT count(*) FROM events, users WHERE events.id < 6000").fetchone()
            assert len(notices) == 1 and notices[0].startswith("rule join-without-condition: "), notices


def test_recorded(gated):
    with gated.connect("alice", "prod", application_name="gate-recorded") as conn:
        refused(conn, "SELECT * FROM events WHERE kind = 1")
        conn.execute("SELECT * FROM events WHERE id = %s", [9])
        conn.execute("UPDATE users SET kind = 9 WHERE id = 9")
    deny = gated.wait_record("deny", application_name="gate-recorded")
    assert deny["rule"] == "estimated-cost" and deny["estimated_cost"] > COST and deny["estimated_rows"] > 1000
    read = gated.wait_record("result", lambda r: "id = $1" in r["sql"], application_name="gate-recorded")
    assert read["estimated_rows"] == 1 and 0 < read["estimated_cost"] < COST
    intent = gated.wait_record("statement", lambda r: "UPDATE" in r["sql"], application_name="gate-recorded")
    assert intent["estimated_rows"] == 1
    gated.wait_record("session.end", application_name="gate-recorded")
    refusals = [r for r in gated.records(application_name="gate-recorded") if "kind = 1" in r.get("sql", "")]
    assert [r["event"] for r in refusals] == ["deny"]


def test_applications_are_not_planned_by_default(gated, cluster):
    with gated.connect("app", "prod") as conn:
        assert len(conn.execute("SELECT id AS unplanned FROM events").fetchall()) == LARGE
    assert [line for line in cluster.logged("unplanned") if "EXPLAIN" in line] == []


def test_a_write_with_a_row_limit(cluster, database, make_proxy):
    """Gate and row limit together: planned inside the proxy's own transaction."""
    proxy = make_proxy({"roles": {"service": {"prod": {"max_rows_written": 10, "max_estimated_cost": COST}}}},
                       {("app", "prod"): database})
    for factory in (psycopg.ClientCursor, psycopg.Cursor):
        with proxy.connect("app", "prod", cursor_factory=factory) as conn:
            assert conn.execute("UPDATE users SET kind = 3 WHERE id = %s", [30]).rowcount == 1
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="UPDATE of 11 rows"):
                conn.execute("UPDATE users SET kind = 3 WHERE id <= %s", [11])
            refused(conn, "UPDATE events SET kind = 3 WHERE note = %s", ["y"])
            assert conn.execute("SELECT kind FROM users WHERE id = 11").fetchone() == (1,)


# --- peak hours ---

ALWAYS = ["Mon-Sun 00:00-24:00"]


def never():
    """A window that is not now: the day before yesterday."""
    return [(datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)).strftime("%a") + " 00:00-24:00"]


def test_peak_hours(cluster, database, make_proxy):
    def hours(windows):
        return {"roles": {"engineer": {"prod": {"peak_hours": {
            "windows": windows, "max_estimated_cost": COST, "max_rows_returned": 7, "statement_timeout": "9s"}}}}}

    proxy = make_proxy(hours(never()), {("app", "prod"): database})
    with proxy.connect("alice", "prod", cursor_factory=psycopg.Cursor) as conn, proxy.connect("bot", "prod") as other:
        statement = "SELECT count(*) FROM events WHERE kind < %s"
        assert conn.execute(statement, [3], prepare=True).fetchone()
        assert shown(conn)["max_estimated_cost"] == "none"
        assert shown(conn)["peak_hours"] == never()[0] + " (UTC)"
        proxy.reload(hours(ALWAYS))
        diag = refused(conn, statement, [3])
        assert diag.message_detail.endswith("the limit is 5,000 in peak hours")
        assert shown(conn)["peak_hours"] == "Mon-Sun 00:00-24:00 (UTC), now"
        assert conn.execute("SHOW statement_timeout").fetchone() == ("9s",)
        assert len(conn.execute("SELECT id FROM users LIMIT 7").fetchall()) == 7
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="more than 7 rows"):
            conn.execute("SELECT id FROM users LIMIT 8")
        assert other.execute(statement, [3]).fetchone(), "another role"
        proxy.reload(hours(never()))
        assert conn.execute(statement, [3]).fetchone()
        assert conn.execute("SHOW statement_timeout").fetchone() == ("2min",)


def test_a_portal_goes_on_into_peak_hours(cluster, database, make_proxy):
    def limit(cost):
        return {"roles": {"engineer": {"prod": {"max_estimated_cost": cost}}}}

    proxy = make_proxy(limit(100_000), {("app", "prod"): database})
    with proxy.wire_login("alice", "prod") as wire:
        wire.simple("BEGIN")
        wire.send(parse("SELECT id FROM events"), bind(), execute(rows=2), w.FLUSH)
        assert len(rows(wire.until("s"))) == 2
        wire.send(execute(rows=2), w.FLUSH)
        assert len(rows(wire.until("s"))) == 2
        proxy.reload(limit(COST))
        wire.send(execute(rows=2), SYNC)
        answer = wire.until()
        assert w.errors(answer) == ["54000"] and status(answer) == "E" and rows(answer) == []


def shown(conn):
    return dict(conn.execute("SHOW pgbelay.limits").fetchall())


def test_asyncpg(gated):
    async def run():
        login = gated.login("alice", "prod")
        conn = await asyncpg.connect(host=login["host"], port=login["port"], user="alice", password=login["password"],
                                     database=login["dbname"], server_settings={"pgbelay.reason": "TEST-1"})
        try:
            assert await conn.fetchval("SELECT count(*) FROM events WHERE id < $1", 5) == 4
            prepared = await conn.prepare("SELECT * FROM events WHERE id < $1")
            assert len(await prepared.fetch(10)) == 9
            for _ in range(2):
                with pytest.raises(asyncpg.ProgramLimitExceededError):
                    await prepared.fetch(LARGE)
            async with conn.transaction():
                assert len([row async for row in prepared.cursor(20, prefetch=3)]) == 19
            await conn.executemany("UPDATE users SET kind = $1 WHERE id = $2", [(1, 21), (2, 22)])
            with pytest.raises(asyncpg.ProgramLimitExceededError):
                await conn.execute("SELECT 1; SELECT * FROM events")
            assert await conn.fetchval("SELECT kind FROM users WHERE id = 22") == 2
        finally:
            await conn.close()

    asyncio.run(run())
