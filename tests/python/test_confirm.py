"""Confirmation: a statement that needs one is refused with a token, and runs once the token is given."""

import re

import psycopg
import pytest

from support import wire as w
from support.wire import SYNC, bind, execute, parse

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
