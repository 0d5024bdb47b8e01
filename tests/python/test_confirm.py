"""Confirmation: a statement that needs one is refused with a token, and runs once the token is given."""

import asyncio
import re

import asyncpg
import psycopg
import pytest

from support import wire as w
from support.wire import SYNC, bind, describe, execute, kinds, parse

pytestmark = pytest.mark.needs_proxy


@pytest.fixture(scope="module")
def staged(cluster, make_module_proxy):
    """stg in a database of its own."""
    return make_module_proxy(None, {("app", "stg"): cluster.create_database("confirm_stg")})


@pytest.fixture
def table(cluster):
    """A table that may be lost."""
    with cluster.connect("confirm_stg") as conn:
        conn.execute("DROP TABLE IF EXISTS losable; CREATE TABLE losable (a int); INSERT INTO losable VALUES (1), (2)")
        yield lambda: conn.execute("SELECT count(*) FROM losable").fetchone()[0]


def token_of(error):
    """The token in the HINT."""
    diag = error.value.diag
    assert diag.message_detail.startswith("rule "), diag.message_detail
    found = re.search(r"pgbelay\.confirm\s*(?:=|TO)\s*'([^']+)'", diag.message_hint)
    assert found, diag.message_hint
    return found[1]


def asked(conn, statement):
    """The token asked for."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
        conn.execute(statement)
    return token_of(error)


def test_confirmed_statement_runs_once(staged, table):
    with staged.connect("alice", "stg") as conn:
        token = asked(conn, "TRUNCATE losable")
        assert table() == 2
        conn.execute(f"SET pgbelay.confirm = '{token}'")
        conn.execute("TRUNCATE losable")
        assert table() == 0
        assert asked(conn, "TRUNCATE losable") != token


def test_a_token_is_for_its_statement_only(staged, table):
    with staged.connect("alice", "stg") as conn:
        token = asked(conn, "TRUNCATE losable")
        conn.execute(f"SET pgbelay.confirm = '{token}'")
        asked(conn, "DROP TABLE losable")
        assert table() == 2


def test_a_token_is_for_its_session_only(staged, table):
    with staged.connect("alice", "stg") as first, staged.connect("alice", "stg") as second:
        token = asked(first, "TRUNCATE losable")
        try:
            second.execute(f"SET pgbelay.confirm = '{token}'")
        except psycopg.Error:
            pass
        asked(second, "TRUNCATE losable")
        assert table() == 2


def test_a_wrong_token_confirms_nothing(staged, table):
    with staged.connect("alice", "stg") as conn:
        asked(conn, "TRUNCATE losable")
        try:
            conn.execute("SET pgbelay.confirm = 'wrong'")
        except psycopg.Error:
            pass
        asked(conn, "TRUNCATE losable")
        assert table() == 2


def test_by_the_extended_protocol(staged, table):
    with staged.wire_login("alice", "stg") as wire:
        wire.send(parse("TRUNCATE losable"), bind(), execute(), SYNC)
        refusal = [m for m in wire.until() if m.kind == "E"][0].fields()
        token = re.search(r"'([^']+)'", refusal["H"][refusal["H"].index("pgbelay.confirm"):])[1]
        wire.simple(f"SET pgbelay.confirm = '{token}'")
        wire.send(parse("TRUNCATE losable"), bind(), execute(), SYNC)
        assert w.errors(wire.until()) == []
    assert table() == 0


def test_the_refusal_tells_the_rows(staged, table):
    with staged.connect("alice", "stg") as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the plan expects about [0-9,]+ rows"):
            conn.execute("TRUNCATE losable")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
            conn.execute("DROP TABLE losable")
        assert "expects" not in error.value.diag.message_detail


def test_planning_runs_nothing(staged, table):
    """The planner calls what says it is IMMUTABLE: it is not asked before the user has said yes."""
    with staged.connect("alice", "stg") as conn:
        conn.execute("CREATE OR REPLACE FUNCTION lose() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM losable WHERE a > 0; RETURN 1; END'")
        conn.execute("CREATE OR REPLACE FUNCTION lying() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM lose(); RETURN 1; END'")
        for cursor in (psycopg.ClientCursor(conn), conn.cursor()):
            for statement in ("SELECT lying()", "UPDATE losable SET a = 3 WHERE a = lying()", "EXPLAIN SELECT lying()"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    cursor.execute(statement)
                assert table() == 2


def test_what_cannot_be_planned_fails_with_the_servers_error(staged):
    with staged.connect("alice", "stg") as conn:
        with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
            conn.execute("TRUNCATE nowhere")
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture(scope="module")
def careful(cluster, make_module_proxy):
    """int, where a write without a WHERE is to be confirmed, in a database of its own."""
    name = cluster.create_database("confirm_int")
    with cluster.connect(name) as conn:
        conn.execute("CREATE TABLE filled (a int); INSERT INTO filled SELECT generate_series(1, 12400); ANALYZE filled")
    return make_module_proxy({"tiers": {"int": {"unbounded_write": "confirm", "join_without_condition": "confirm"}}},
                             {("app", "int"): name})


def test_a_driver_that_binds_on_the_server(careful):
    """The token is for these parameters, and the same statement runs with it."""
    statement = "UPDATE filled SET a = %s"
    with careful.connect("alice", "int", cursor_factory=psycopg.Cursor) as conn:
        for prepare in (False, True):
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
                conn.execute(statement, [5], prepare=prepare)
            # What an UPDATE leaves behind counts in the estimate until a VACUUM.
            assert prepare or error.value.diag.message_detail.endswith("the plan expects about 12,400 rows")
            conn.execute(f"SET pgbelay.confirm = '{token_of(error)}'")
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
                conn.execute(statement, [6], prepare=prepare)
            conn.execute(f"SET pgbelay.confirm = '{token_of(error)}'")
            assert conn.execute(statement, [6], prepare=prepare).rowcount == 12400
            assert conn.execute("SELECT min(a), max(a) FROM filled").fetchone() == (6, 6)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement, [6], prepare=prepare)


def test_asyncpg(careful):
    async def run():
        login = careful.login("alice", "int")
        conn = await asyncpg.connect(host=login["host"], port=login["port"], user="alice", password=login["password"],
                                     database=login["dbname"])
        try:
            prepared = await conn.prepare("UPDATE filled SET a = $1")
            with pytest.raises(asyncpg.InsufficientPrivilegeError) as error:
                await prepared.fetch(7)
            token = re.search(r"confirm = '([^']+)'", error.value.hint)[1]
            await conn.execute(f"SET pgbelay.confirm = '{token}'")
            await prepared.fetch(7)
            assert await conn.fetchval("SELECT max(a) FROM filled") == 7
        finally:
            await conn.close()

    asyncio.run(run())


def test_parse_and_describe_alone_ask_for_nothing(careful):
    with careful.wire_login("alice", "int") as wire:
        wire.send(parse("DELETE FROM filled RETURNING a", "s"), describe("S", "s"), SYNC)
        assert kinds(wire.until()) == "1tTZ"
        wire.send(bind("s"), execute(), SYNC)
        answer = wire.until()
        assert kinds(answer) == "EZ" and w.errors(answer) == ["42501"]
        wire.send(parse("SELECT 1"), bind(), execute(), SYNC)
        assert kinds(wire.until()) == "12DCZ"


def test_in_a_block_of_the_extended_protocol(careful):
    with careful.connect("alice", "int", autocommit=False, cursor_factory=psycopg.Cursor) as conn:
        conn.execute("SELECT 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
            conn.execute("DELETE FROM filled WHERE %s", [True])
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            conn.execute("SELECT 1")
        conn.rollback()
        conn.execute(f"SET pgbelay.confirm = '{token_of(error)}'")
        assert conn.execute("DELETE FROM filled WHERE %s", [True]).rowcount == 12400
        conn.rollback()


@pytest.mark.parametrize("cursor", [psycopg.ClientCursor, psycopg.Cursor], ids=["simple", "extended"])
def test_a_plan_that_needs_confirmation(careful, cursor):
    statement = "SELECT count(*) FROM filled a, filled b WHERE a.a < 20000 AND b.a > -1 AND a.a <> 77"
    with careful.connect("alice", "int", cursor_factory=cursor) as conn:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded) as error:
            conn.execute(statement)
        assert error.value.diag.message_detail.startswith("rule join-without-condition: ")
        conn.execute(f"SET pgbelay.confirm = '{token_of(error)}'")
        assert conn.execute(statement).fetchone()
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            conn.execute(statement)


def test_it_is_recorded(staged, table):
    with staged.connect("alice", "stg", application_name="confirming") as conn:
        token = asked(conn, "TRUNCATE losable")
        conn.execute(f"SET pgbelay.confirm = '{token}'")
        conn.execute("TRUNCATE losable")
    first = staged.wait_record("confirm", application_name="confirming")
    assert first["rule"] == "truncate-drop" and "losable" in first["sql"]
    staged.wait_record("result", lambda r: "TRUNCATE" in r.get("sql", ""), application_name="confirming")


def test_it_can_be_denied_instead(cluster, make_proxy):
    proxy = make_proxy({"roles": {"engineer": {"stg": {"truncate_drop": "deny"}}}})
    with proxy.connect("alice", "stg") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
        conn.execute("TRUNCATE email_drafts")
    assert "pgbelay.confirm" not in (refusal.value.diag.message_hint or "")
