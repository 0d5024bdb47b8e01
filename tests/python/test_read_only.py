"""A read-only person stays read-only on the server itself, whatever was sent before: each trick is followed by writes that no rule can see, through
functions of the database, and by plain ones."""

import pytest

from support import wire as w
from support.sessions import rows
from support.wire import SYNC, bind, execute, parse

pytestmark = pytest.mark.needs_proxy

# As one query string, or one after the other in the extended protocol.
TRICKS = [
    ["COMMIT"],
    ["BEGIN", "COMMIT"],
    ["BEGIN", "ROLLBACK"],
    ["BEGIN READ WRITE"],
    ["BEGIN", "SET TRANSACTION READ WRITE"],
    ["START TRANSACTION READ WRITE"],
    ["BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE"],
    ["BEGIN READ ONLY", "SET TRANSACTION READ WRITE"],
    ["BEGIN", "COMMIT AND CHAIN"],
    ["BEGIN", "ROLLBACK AND CHAIN"],
    ["BEGIN", "SAVEPOINT s", "SET TRANSACTION READ WRITE"],
    ["SET transaction_read_only = off"],
    ["SET LOCAL transaction_read_only = off"],
    ["SET SESSION transaction_read_only TO 'no'"],
    ["SET default_transaction_read_only = off"],
    ["SET default_transaction_read_only TO DEFAULT"],
    ["SET DEFAULT_TRANSACTION_READ_ONLY = 0"],
    ['SET "default_transaction_read_only" TO f'],
    ["RESET default_transaction_read_only"],
    ["RESET transaction_read_only"],
    ["RESET ALL"],
    ["DISCARD ALL"],
    ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"],
    ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"],
    ["SELECT set_config('transaction_read_only', 'off', false)"],
    ["SELECT set_config('default_transaction_read_only', 'off', false)"],
    ["SELECT set_config('default_transaction' || '_read_only', 'off', false)"],
    ["SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'default_transaction_read_only'"],
    ["SELECT pg_catalog.set_config('default_transaction_read_only', 'off', false) FROM (SELECT 1) s"],
    ["UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'"],
    ["UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'transaction_read_only'"],
    ["SET SESSION AUTHORIZATION DEFAULT"],
    ["RESET ROLE"],
    ["ALTER ROLE app SET default_transaction_read_only = off"],
    ["SET session_replication_role = replica"],
    # A function of the database that does what no statement may: a hole in the policy, as it were.
    ["SELECT cfg('default_transaction_read_only', 'off')"],
    ["SELECT cfg('transaction_read_only', 'off')"],
    ["SELECT cfg('default_transaction_read_only', 'off')", "COMMIT"],
    ["BEGIN", "SELECT cfg('default_transaction_read_only', 'off')", "COMMIT"],
    ["BEGIN", "SELECT cfg('default_transaction_read_only', 'off')", "COMMIT AND CHAIN"],
    ["BEGIN", "SELECT cfg('transaction_read_only', 'off')"],
    ["SELECT cfg('default_transaction_read_only', 'off')", "BEGIN"],
    ["PREPARE p AS SELECT cfg('default_transaction_read_only', 'off')", "EXECUTE p"],
    ["DECLARE c CURSOR WITH HOLD FOR SELECT cfg('default_transaction_read_only', 'off')", "FETCH ALL c"],
    ["EXPLAIN ANALYZE SELECT cfg('default_transaction_read_only', 'off')"],
    ["COPY (SELECT cfg('default_transaction_read_only', 'off')) TO STDOUT"],
    # Not understood by the parser: the single-statement channel.
    ["SELECT 1 FROM projects FROBNICATE BY 7; COMMIT"],
    ["SELECT cfg('default_transaction_read_only', 'off') FROM projects FROBNICATE BY 7"],
]
WRITES = [
    "SELECT wipe_drafts()",
    "SELECT touch(1)",
    "UPDATE projects SET status = 'written' WHERE id = 1",
    "WITH x AS (DELETE FROM email_drafts WHERE id = 1 RETURNING 1) SELECT * FROM x",
    "SELECT nextval('projects_id_seq')",
]


@pytest.fixture(scope="module")
def guarded(cluster, make_module_proxy):
    cluster.create_database("read_only")
    with cluster.connect("read_only") as conn:
        conn.execute("CREATE FUNCTION cfg(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN set_config($1, $2, false); END $$")
    return make_module_proxy(None, {("app", "prod"): "read_only"})


@pytest.fixture
def unchanged(cluster):
    """Fails when the test has changed anything."""
    sql = ("SELECT (SELECT md5(string_agg(d::text, ',' ORDER BY id)) FROM email_drafts d), (SELECT md5(string_agg(p::text || p.xmin, ',' ORDER BY id))"
           " FROM projects p), (SELECT last_value FROM projects_id_seq)")
    with cluster.connect("read_only") as conn:
        before = conn.execute(sql).fetchone()
        yield
        assert conn.execute(sql).fetchone() == before


def extended(conn, statements):
    for sql in statements:
        conn.send(parse(sql), bind(), execute(), SYNC)
        yield conn.until()


def pipelined(conn, statements):
    for sql in statements:
        conn.send(parse(sql), bind(), execute())
    conn.send(SYNC)
    yield conn.until()


def one_string(conn, statements):
    yield conn.simple("; ".join(statements))


def one_by_one(conn, statements):
    for sql in statements:
        yield conn.simple(sql)


@pytest.mark.parametrize("how", [one_string, one_by_one, extended, pipelined], ids=lambda f: f.__name__)
@pytest.mark.parametrize("trick", TRICKS, ids="; ".join)
def test_trick(guarded, unchanged, trick, how):
    """The writes stand behind the trick in the same string or pipeline, and then alone."""
    def refused(conn, statements):
        return [code for answer in how(conn, statements) for code in w.errors(answer)]

    for hidden in ("SELECT wipe_drafts()", "UPDATE projects SET status = 'written' WHERE id = 1"):
        with guarded.wire_login("alice", "prod") as conn:
            assert refused(conn, [*trick, hidden]), f"{hidden} was not refused"
            conn.simple("ROLLBACK")
            assert rows(conn.simple("SHOW transaction_read_only")) == [["on"]]
    with guarded.wire_login("alice", "prod") as conn:
        list(how(conn, trick))
        for write in WRITES:
            assert refused(conn, [write]), f"{write} was not refused"
        conn.simple("ROLLBACK")
        assert rows(conn.simple("SHOW transaction_read_only")) == [["on"]]


@pytest.mark.parametrize("options", [
    "-c default_transaction_read_only=off",
    "--default_transaction_read_only=off",
    "-cdefault-transaction-read-only=off",
    "-c transaction_read_only=off",
    "-c session_replication_role=replica",
    "-c role=app",
])
@pytest.mark.parametrize("as_parameter", [False, True], ids=["options", "parameters"])
def test_startup(guarded, unchanged, options, as_parameter):
    name, value = options.lstrip("-c ").split("=")
    params = {name.replace("-", "_"): value} if as_parameter else {}
    with guarded.wire() as conn:
        login = {"user": "alice", "database": "app:prod", "options": "-c pgbelay.reason=TEST-1" + ("" if as_parameter else f" {options}")} | params
        conn.send(w.startup_packet(login))
        if conn.authenticate("alice-clear-9f2b")[-1].kind == "E":
            return
        for write in WRITES:
            assert w.errors(conn.simple(write)), write


def test_the_next_session_on_the_connection_is_read_only_too(guarded, unchanged):
    """What one session's function has set is gone when the next one gets the connection."""
    for _ in range(5):
        with guarded.wire_login("alice", "prod") as conn:
            conn.simple("SELECT cfg('default_transaction_read_only', 'off')")
        with guarded.wire_login("alice", "prod") as conn:
            assert "25006" in w.errors(conn.simple("SELECT wipe_drafts()"))


def test_reads_stay_reads(guarded, unchanged):
    """LOCK TABLE … IN ACCESS SHARE MODE, cursors and COPY TO STDOUT, as pg_dump and drivers use them."""
    with guarded.wire_login("alice", "prod") as conn:
        for sql in ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "LOCK TABLE projects IN ACCESS SHARE MODE",
                    "LOCK TABLE ONLY public.projects, email_threads IN ACCESS SHARE MODE NOWAIT", "DECLARE c SCROLL CURSOR FOR SELECT id FROM projects ORDER BY id",
                    "DECLARE b BINARY INSENSITIVE CURSOR FOR SELECT id FROM projects"):
            assert w.errors(conn.simple(sql)) == [], sql
        assert rows(conn.simple("FETCH 2 FROM c")) == [["1"], ["2"]]
        assert [m.tag for m in conn.simple("MOVE FORWARD 10 IN c") if m.kind == "C"] == ["MOVE 10"]
        assert rows(conn.simple("FETCH PRIOR FROM c")) == [["11"]]
        assert rows(conn.simple("FETCH ABSOLUTE 50 FROM c")) == [["50"]]
        assert [m.tag for m in conn.simple("COPY projects (id) TO STDOUT") if m.kind == "C"] == ["COPY 50"]
        assert [m.tag for m in conn.simple("COPY (SELECT 1) TO STDOUT (FORMAT binary)") if m.kind == "C"] == ["COPY 1"]
        for sql in ("CLOSE c", "CLOSE ALL", "COMMIT"):
            assert w.errors(conn.simple(sql)) == [], sql
        assert w.errors(conn.simple("DECLARE h CURSOR WITH HOLD FOR SELECT id FROM projects")) == []
        assert len(rows(conn.simple("FETCH ALL FROM h"))) == 50
        for mode in ("ROW SHARE", "ROW EXCLUSIVE", "SHARE", "ACCESS EXCLUSIVE"):
            conn.simple("BEGIN")
            assert w.errors(conn.simple(f"LOCK TABLE projects IN {mode} MODE")) == ["25006"]
            conn.simple("ROLLBACK")
