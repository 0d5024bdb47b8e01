"""Rules in report mode: nothing is refused, everything is on record."""

import psycopg
import pytest

from support.sessions import rows, status
from support.wire import COPY_DONE, SYNC, bind, copy_data, execute, parse, query

pytestmark = pytest.mark.needs_proxy

REPORT = {"mode": "report"}
REPORTED = ["unbounded-write", "row-limit", "read-limit", "advisory-lock"]


@pytest.fixture(scope="module")
def reporting(make_module_proxy):
    """prod: unbounded writes and all row limits are reported; stg: TRUNCATE, which would ask for a confirmation."""
    return make_module_proxy({
        "tiers": {
            "prod": {"max_rows_written": 5, "rules": {rule: REPORT for rule in REPORTED}},
            "stg": {"rules": {"truncate-drop": REPORT}},
        },
        "roles": {"service": {"prod": {"max_rows_returned": 5}}},
    })


@pytest.fixture
def notes(cluster):
    """The table `notes` with 20 rows on prod; gives its owner's connection."""
    with cluster.connect("app_prod") as owner:
        owner.execute("DROP TABLE IF EXISTS notes")
        owner.execute("CREATE TABLE notes (id int PRIMARY KEY, text text)")
        owner.execute("INSERT INTO notes SELECT n, 'x' FROM generate_series(1, 20) n")
        yield owner
        owner.execute("DROP TABLE notes")


def record_of(proxy, sql, event):
    return proxy.wait_record(event, lambda r: r.get("sql") == sql)


def would(record):
    return [(entry["rule"], entry["verdict"]) for entry in record["would_deny"]]


def counted(proxy, **labels):
    samples = proxy.metrics().get("pgbelay_would_deny_total", [])
    return sum(value for found, value in samples if labels.items() <= found.items())


def test_an_unbounded_write_runs_and_is_recorded(reporting, notes):
    sql = "UPDATE notes SET text = 'seen' /* report mode */"
    with reporting.connect("app", "prod") as conn:
        told = []
        conn.add_notice_handler(lambda notice: told.append(notice.message_primary))
        assert conn.execute(sql).rowcount == 20
        assert told == []
    assert notes.execute("SELECT count(*) FROM notes WHERE text = 'seen'").fetchone() == (20,)
    # Before it ran nobody knew how many rows it would change.
    assert would(record_of(reporting, sql, "statement")) == [("unbounded-write", "deny")]
    result = record_of(reporting, sql, "result")
    assert would(result) == [("unbounded-write", "deny"), ("row-limit", "deny")]
    assert (result["rows"], result["verdict"]) == (20, "guarded") and "sqlstate" not in result
    assert [entry["detail"] for entry in result["would_deny"]] == [
        "there is no WHERE, so every row of notes would be changed", "20 rows were changed, the limit is 5"]


WRITE = "DELETE FROM notes WHERE id > 3"
FORMS = {
    "simple": (WRITE, lambda sql: query(sql)),
    "several": (f"SELECT 1; {WRITE}; SELECT 2", lambda sql: query(sql)),
    "extended": (WRITE, lambda sql: parse(sql) + bind() + execute() + SYNC),
    "pipelined": (WRITE, lambda sql: parse(sql) + bind() + execute() + parse("SELECT 1") + bind() + execute() + SYNC),
    "with": ("WITH gone AS (DELETE FROM notes WHERE id > 3 RETURNING id) SELECT count(*) FROM gone", query),
    "with, extended": ("WITH gone AS (DELETE FROM notes WHERE id > 3 RETURNING 1) SELECT count(*) FROM gone",
                       lambda sql: parse(sql) + bind() + execute() + SYNC),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
def test_a_write_over_its_limit_in_each_form(reporting, notes, form, block):
    sql, messages = FORMS[form]
    sql = f"{sql} /* {form} {block} */"
    with reporting.wire_login("app", "prod") as wire:
        if block:
            wire.simple("BEGIN")
        wire.send(messages(sql))
        answer = wire.until()
        assert not [m for m in answer if m.kind in "EN"], answer
        assert status(answer) == ("T" if block else "I")
        if block:
            assert status(wire.simple("COMMIT")) == "I"
    assert notes.execute("SELECT count(*) FROM notes").fetchone() == (3,)
    assert would(record_of(reporting, sql, "result")) == [("row-limit", "deny")]


def test_a_copy_over_its_limit(reporting, notes):
    sql = "COPY notes FROM STDIN"
    with reporting.wire_login("app", "prod") as wire:
        wire.send(query(sql))
        wire.until("G")
        wire.send(copy_data(b"".join(b"%d\tx\n" % n for n in range(100, 120))), COPY_DONE)
        answer = wire.until()
        assert not [m for m in answer if m.kind in "EN"] and status(answer) == "I"
    assert notes.execute("SELECT count(*) FROM notes").fetchone() == (40,)
    assert would(record_of(reporting, sql, "result")) == [("row-limit", "deny")]


def test_a_read_over_its_limit_goes_on_and_is_recorded_once(reporting, notes):
    sql = "SELECT id FROM notes"
    with reporting.wire_login("app", "prod") as wire:
        assert len(rows(wire.simple(sql))) == 20
        assert len(rows(wire.simple("SELECT id FROM notes LIMIT 5"))) == 5
        wire.simple("UPDATE notes SET text = 'end' WHERE id = 1")
    # `audit = "changes"` leaves reads of a service out, but not this one.
    record = record_of(reporting, sql, "result")
    assert would(record) == [("read-limit", "deny")]
    assert record["would_deny"][0]["detail"] == "more than 5 rows were returned"
    record_of(reporting, "UPDATE notes SET text = 'end' WHERE id = 1", "result")
    assert not [r for r in reporting.records() if r.get("sql", "").endswith("LIMIT 5")]


def test_what_would_need_a_confirmation(reporting, cluster):
    with cluster.connect("app_stg") as owner:
        owner.execute("CREATE TABLE heap AS SELECT 1 AS id")
        sql = "TRUNCATE heap"
        with reporting.connect("alice", "stg") as conn:
            conn.execute(sql)
        assert owner.execute("SELECT count(*) FROM heap").fetchone() == (0,)
        owner.execute("DROP TABLE heap")
    assert would(record_of(reporting, sql, "statement")) == [("truncate-drop", "confirm")]
    assert would(record_of(reporting, sql, "result")) == [("truncate-drop", "confirm")]


def test_a_read_that_would_be_refused_has_its_intent_on_record(reporting):
    sql = "SELECT pg_try_advisory_lock(4711)"
    with reporting.connect("alice", "prod") as conn:
        assert conn.execute(sql).fetchone() == (True,)
    assert would(record_of(reporting, sql, "statement")) == [("advisory-lock", "deny")]


def test_other_rules_are_enforced(reporting):
    with reporting.connect("app", "prod") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege, match="TRUNCATE"):
        conn.execute("TRUNCATE email_drafts")
    with reporting.connect("alice", "stg") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege, match="WHERE"):
        conn.execute("DELETE FROM email_drafts")


def test_it_is_counted(reporting, notes):
    labels = {"database": "app", "tier": "prod", "rule": "unbounded-write"}
    before = counted(reporting, **labels)
    with reporting.connect("app", "prod") as conn:
        conn.execute("UPDATE notes SET text = 'a'")
        conn.execute("UPDATE notes SET text = 'b' WHERE id = 1")
    assert counted(reporting, **labels) == before + 1
    assert reporting.verify().returncode == 0
