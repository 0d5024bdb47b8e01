"""Attacks that others fell to, sent raw. What the rest of the tests has is not repeated here: lying lengths and malformed messages in
test_protocol.py, packets before and during authentication in test_startup.py, plain text around TLS in test_tls.py, a hostile server in
test_hostile_server.py."""

import struct
import time

import psycopg
import pytest

from support import wire as w
from support.proxy import USERS
from support.sessions import rows, status
from support.wire import SYNC, bind, execute, kinds, message, packet, parse, startup_packet

pytestmark = pytest.mark.needs_proxy


# --- texts with a NUL ---


@pytest.mark.parametrize("data", [
    message("P", b"\0SELECT 1\0; DELETE FROM email_drafts\0\0\0"),
    message("P", b"name\0more\0SELECT 1\0\0\0"),
    message("P", b"\0SELECT 1\0\0\0" + parse("DELETE FROM email_drafts")),
    message("B", b"\0\0\0\0\0\0\0\0" + execute()),
    message("Q", b"SELECT 1\0\0DELETE FROM email_drafts\0"),
], ids=lambda d: d[:30].hex())
def test_nothing_is_smuggled_behind_a_nul(proxy, cluster, data):
    before = len(cluster.logged("DELETE FROM email_drafts"))
    with proxy.wire_login("app", "int") as conn:
        conn.send(data, SYNC)
        messages = conn.until("Z", "E")
        assert set(w.errors(messages)) <= {"08P01", "26000"} and messages[-1].kind == "E"
    assert len(cluster.logged("DELETE FROM email_drafts")) == before


def test_nul_in_a_parameter_is_the_servers_to_refuse(proxy):
    with proxy.wire_login("app", "prod") as conn:
        conn.send(parse("SELECT $1::text"), bind(values=["a\0b"]), execute(), SYNC)
        assert w.errors(conn.until()) == ["22021"]


# --- counts and lengths that wrap (pgx's CVE-2024-27304) ---


def test_as_many_parameters_as_there_can_be(proxy):
    count = 65_535
    with proxy.wire_login("app", "prod") as conn:
        types = struct.pack("!H", count) + struct.pack("!I", 23) * count
        values = struct.pack("!HH", 0, count) + struct.pack("!i", -1) * count + struct.pack("!h", 0)
        conn.send(message("P", b"\0SELECT $1 IS NULL AND $65535 IS NULL\0" + types), message("B", b"\0\0" + values), execute(), SYNC)
        assert rows(conn.until()) == [["t"]]


@pytest.mark.parametrize("extra", [1, 2, 4464])
def test_one_parameter_more_wraps_and_is_refused(proxy, cluster, extra):
    """The count wraps to a small number, so that parameters would be read as messages."""
    hidden = w.query("SELECT 'hidden in a parameter'")
    count = 65_536 + extra
    with proxy.wire_login("app", "prod") as conn:
        values = struct.pack("!HH", 0, count % 65_536) + struct.pack("!i", len(hidden)) + hidden + struct.pack("!i", -1) * (count - 1) + struct.pack("!h", 0)
        conn.send(parse("SELECT 1"), message("B", b"\0\0" + values), execute(), SYNC)
        answer = conn.until()
        assert w.errors(answer) == ["08P01"] and rows(answer) == []
        assert kinds(conn.simple("SELECT 1")) == "TDCZ"
    assert not cluster.logged("statement: SELECT 'hidden in a parameter'")


def test_a_length_that_wraps_is_not_taken_for_its_remainder(proxy, cluster):
    """A message of 4 GiB and a few bytes, sent with the remainder as its length: what follows is not a message of ours."""
    hidden = w.query("SELECT 'behind 4 GiB'")
    with proxy.wire_login("app", "prod") as conn:
        conn.send(struct.pack("!cI", b"Q", 8) + b"SEL\0" + b"A" * 1000 + hidden)
        conn.end()
        assert w.errors(conn.rest())[-1] == "08P01"
    assert not cluster.logged("behind 4 GiB")


@pytest.mark.parametrize("tag", "QPBDECFSHdcfXp")
@pytest.mark.parametrize("length", [0x40000001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_length_over_one_gib(proxy, tag, length):
    with proxy.wire_login("alice") as conn:
        conn.send(struct.pack("!cI", tag.encode(), length))
        conn.end()
        assert set(w.errors(conn.rest())) <= {"08P01", "54000"}
    with proxy.wire_login("alice") as conn:
        assert kinds(conn.simple("SELECT 1")) == "TDCZ"


# --- statements and portals that were refused ---


def test_refused_parse_under_a_name_in_use_leaves_the_first(proxy):
    with proxy.wire_login("app", "prod") as conn:
        conn.send(parse("SELECT 'first'", "taken"), SYNC, parse("DELETE FROM email_drafts", "taken"), SYNC)
        conn.until()
        assert len(w.errors(conn.until())) == 1
        conn.send(bind("taken"), execute(), SYNC)
        assert rows(conn.until()) == [["first"]]


def test_refused_parse_of_the_unnamed_statement_leaves_none(proxy):
    with proxy.wire_login("app", "prod") as conn:
        conn.send(parse("SELECT 'before'"), SYNC, parse("DELETE FROM email_drafts"), SYNC, bind(), execute(), SYNC)
        conn.until()
        assert w.errors(conn.until()) == ["42501"]
        answer = conn.until()
        # Postgres drops the unnamed statement when a Parse fails; an older one must at least not be the refused one.
        assert w.errors(answer) == ["26000"] or rows(answer) == [["before"]]


def test_portal_of_a_refused_statement_never_runs(proxy, cluster):
    before = len(cluster.logged("DELETE FROM email_drafts"))
    with proxy.wire_login("app", "prod") as conn:
        conn.send(parse("DELETE FROM email_drafts", "s"), bind("s", "p"), execute("p"), SYNC, bind("s", "p"), SYNC, execute("p"), SYNC,
                  w.describe("P", "p"), SYNC)
        codes = [code for _ in range(4) for code in w.errors(conn.until())]
        assert codes == ["42501", "26000", "34000", "34000"]
    assert len(cluster.logged("DELETE FROM email_drafts")) == before


def test_portal_made_while_it_was_allowed_is_judged_again(proxy):
    """The reason is taken back between Bind and Execute."""
    with proxy.wire_login("alice", "prod", reason=None) as conn:
        conn.simple("SET pgbelay.reason = 'INC-1'")
        conn.simple("BEGIN")
        conn.send(parse("SELECT id FROM projects ORDER BY id", "s"), bind("s", "p"), execute("p", 1), SYNC)
        assert rows(conn.until()) == [["1"]]
        conn.simple("SET pgbelay.reason = ''")
        conn.send(execute("p", 1), SYNC)
        answer = conn.until()
        assert w.errors(answer) == ["42501"] and status(answer) == "E"
        conn.simple("ROLLBACK")
        conn.send(bind("s"), execute(), SYNC)
        assert w.errors(conn.until()) == ["42501"]


# --- authentication ---


@pytest.mark.parametrize("size", [1_500, 2_100, 60_000, 1_000_000])
def test_overlong_nonce_of_the_client(proxy, size):
    """CVE-2026-6664 to 6666 of PgBouncer, from the client's side: refused, or answered within bounds; never a crash."""
    with proxy.wire(timeout=10) as conn:
        conn.send(startup_packet({"user": "alice", "database": "app"}))
        conn.receive()
        first = b"n,,n=,r=" + b"x" * size
        try:
            conn.send(message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            answer = conn.receive()
            assert answer.kind == "E" or (answer.kind == "R" and len(answer.body) < size + 200)
        except (w.Closed, ConnectionError):
            pass
    with proxy.wire_login("alice") as conn:
        assert kinds(conn.simple("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("sent", [
    w.query("SELECT 'too early'"),
    parse("SELECT 'too early'") + bind() + execute() + SYNC,
    w.function_call(),
    w.copy_data(b"x"),
    w.TERMINATE,
], ids=lambda d: d[:1].decode())
def test_messages_in_the_packet_of_the_startup(proxy, cluster, sent):
    """Sent before the proxy has asked for anything: they are not kept for later."""
    with proxy.wire(timeout=10) as conn:
        conn.send(startup_packet({"user": "alice", "database": "app"}), sent)
        messages = conn.rest()
        assert [m.body[:4] for m in messages if m.kind == "R"] == [struct.pack("!i", 10)]
        assert all(m.kind in "RE" for m in messages)
    assert not cluster.logged("too early")


def test_password_past_valid_until(cluster, make_proxy):
    """CVE-2025-2291 of PgBouncer: the server's own word on the role's password holds, for each new connection."""
    with cluster.admin() as admin:
        admin.execute("CREATE ROLE leaver LOGIN PASSWORD 'leaver-clear-77'; GRANT app TO leaver")
    target = {"url": f"postgres://leaver@{cluster.host}:{cluster.port}/app_int", "password_env": "TEST_UPSTREAM_PASSWORD"}
    proxy = make_proxy({"databases": {"app": {"int": target}}, "tiers": {"int": {"pool": {"min": 0, "max": 2, "wait": "2s"}}}}, start=False)
    proxy.environment["TEST_UPSTREAM_PASSWORD"] = "leaver-clear-77"
    with cluster.admin() as admin:
        admin.execute("ALTER ROLE leaver VALID UNTIL '2020-01-01'")
    proxy.start(wait_for="/healthz")
    try:
        with pytest.raises(psycopg.OperationalError) as refused:
            proxy.connect("app", "int").execute("SELECT 1")
        assert "leaver" not in str(refused.value)
    finally:
        with cluster.admin() as admin:
            admin.execute("DROP ROLE leaver")


# --- cancel ---


def test_cancel_by_part_of_a_key(proxy):
    """Neither a prefix nor a longer key will do, and nothing tells a session that exists from one that does not."""
    for version in (w.V3_0, w.V3_2):
        with proxy.wire_login("alice", version=version) as busy:
            busy.send(w.query("SELECT pg_sleep(0.7)"))
            pid, key = struct.pack("!i", busy.key[0]), busy.key[1]
            for guess in (b"", key[:1], key[:-1], key + b"\0", key * 2, bytes(len(key)), bytes(256), key[::-1] if key != key[::-1] else b"x"):
                with proxy.wire() as conn:
                    conn.send(packet(w.CANCEL, pid + guess))
                    # What is no cancel key at all may be told so.
                    assert all(m.kind == "E" for m in conn.rest())
            assert kinds(busy.until()) == "TDCZ"


def test_keys_do_not_repeat(proxy):
    keys = set()
    for _ in range(30):
        with proxy.wire_login("alice", version=w.V3_2) as conn:
            keys.add((conn.key[0], conn.key[1]))
    assert len({key for _, key in keys}) == 30


# --- the proxy's own queries ---


@pytest.mark.parametrize("where", ["startup", "options", "set"])
def test_search_path_does_not_reach_the_proxys_own_queries(cluster, make_proxy, where):
    """CVE-2025-12819 of PgBouncer: what shadows Postgres's own functions and operators is never called on the proxy's behalf."""
    database = cluster.fresh_database("shadow")
    with cluster.connect(database) as conn:
        conn.execute("""
            CREATE SCHEMA evil;
            CREATE SEQUENCE evil.calls;
            CREATE FUNCTION evil.hit() RETURNS text LANGUAGE sql AS $$ SELECT nextval('evil.calls')::text $$;
            CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT evil.hit()';
            CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT evil.hit()';
            CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT evil.hit()';
            CREATE FUNCTION evil.pg_my_temp_schema() RETURNS oid LANGUAGE sql AS 'SELECT evil.hit()::oid';
            CREATE FUNCTION evil.pg_stat_get_xact_tuples_deleted(oid) RETURNS bigint LANGUAGE sql AS 'SELECT evil.hit()::bigint';
            CREATE FUNCTION evil.sum(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT evil.hit()::bigint';
            CREATE FUNCTION evil.eq(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT evil.hit() IS NULL';
            CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.hit() IS NULL';
            CREATE FUNCTION evil.plus(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT evil.hit()::bigint';
            CREATE OPERATOR evil.= (leftarg = oid, rightarg = oid, function = evil.eq);
            CREATE OPERATOR evil.= (leftarg = text, rightarg = text, function = evil.eq);
            CREATE OPERATOR evil.+ (leftarg = bigint, rightarg = bigint, function = evil.plus);
            CREATE VIEW evil.pg_locks AS SELECT evil.hit() AS locktype;
            CREATE VIEW evil.pg_class AS SELECT evil.hit() AS relname;
            CREATE VIEW evil.pg_stat_xact_user_tables AS SELECT evil.hit() AS n_tup_del;
            CREATE FUNCTION evil.leaves_state() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_catalog.set_config('work_mem', '5MB', false); END $$;
        """)
    proxy = make_proxy(None, {("app", "prod"): database, ("app", "int"): database})
    path = "evil,pg_catalog,public"
    params = {"startup": {"search_path": path}, "options": {"options": f"-c search_path={path}"}, "set": {}}[where]
    with proxy.wire() as conn:
        conn.login({"user": "app", "database": "app:prod"} | params, USERS["app"][1])
        if where == "set":
            conn.simple(f"SET search_path = {path}")
        assert rows(conn.simple("SHOW search_path"))[0][0].replace(" ", "") == path
        # Settings applied, a count of rows that no tag tells, and what a function may have left behind.
        for sql in ("SET work_mem = '6MB'", "SELECT evil.leaves_state()", "SHOW work_mem", "CREATE TEMP TABLE t (a int)",
                    "WITH x AS (DELETE FROM public.email_drafts WHERE id IN (1, 2) RETURNING id) SELECT id FROM x", "SELECT 1"):
            assert w.errors(conn.simple(sql)) == [], sql
            conn.send(parse(sql if "TEMP" not in sql else "SELECT 2"), bind(), execute(), SYNC)
            assert w.errors(conn.until()) == [], sql
    with cluster.connect(database) as check:
        assert check.execute("SELECT is_called FROM evil.calls").fetchone() == (False,)


def test_a_slow_first_packet_is_given_up(make_proxy):
    """Half a StartupMessage holds a connection no longer than login_timeout."""
    proxy = make_proxy({"listen": {"login_timeout": "1s"}})
    with proxy.wire(timeout=10) as conn:
        started = time.monotonic()
        conn.send(startup_packet({"user": "alice"})[:9])
        conn.rest()
        assert time.monotonic() - started < 8


# --- what an error leaves in place ---


def test_what_an_error_left_in_place_of_a_skipped_statement_is_judged_as_what_it_is(make_proxy, cluster):
    """Both batches are on their way before the server has answered: the second has the statement of before, not the skipped one."""
    proxy = make_proxy()
    with proxy.wire_login("app", "prod") as conn:
        conn.send(parse("SELECT 1/0", "bad"), parse("UPDATE projects SET status = status WHERE id = 1"), SYNC)
        assert not w.errors(conn.until())
        conn.send(bind("bad"), execute(), parse("SELECT 'skipped'"), SYNC, bind(), execute(), SYNC)
        assert w.errors(conn.until()) == ["22012"]
        assert [m.body for m in conn.until() if m.kind == "C"] == [b"UPDATE 1\0"]
        assert proxy.wait_record("statement", kind="UPDATE")["sql"].startswith("UPDATE projects")
