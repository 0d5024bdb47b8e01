"""COPY in the protocol, sent raw."""

from support import wire as w
from support.sessions import rows, status
from support.wire import SYNC, bind, execute, kinds, message, parse, query


def test_copy_messages_outside_copy_are_ignored(wire):
    wire.send(w.copy_data(b"1\tx\n"), w.COPY_DONE, message("f", b"no\0"))
    assert rows(wire.simple("SELECT 1")) == [["1"]]


def test_copy_out(wire):
    answer = wire.simple("COPY (SELECT i, 'v' || i FROM generate_series(1, 3) i) TO STDOUT")
    assert kinds(answer) == "HdddcCZ"
    assert b"".join(m.body for m in answer if m.kind == "d") == b"1\tv1\n2\tv2\n3\tv3\n"


def test_copy_in_by_simple_query(writer):
    writer.send(query("COPY email_threads (project_id, subject) FROM STDIN"))
    assert kinds(writer.until("G")) == "G"
    writer.send(w.copy_data(b"1\tcopied\n"), w.copy_data(b"2\tcop"), w.copy_data(b"ied\n"), w.COPY_DONE)
    answer = writer.until()
    assert [m.tag for m in answer if m.kind == "C"] == ["COPY 2"]
    assert status(answer) == "I"


def test_copy_in_refused_by_the_client(writer):
    writer.send(query("COPY email_threads (project_id, subject) FROM STDIN"))
    writer.until("G")
    writer.send(w.copy_data(b"1\tdropped\n"), message("f", b"changed my mind\0"))
    assert w.errors(writer.until()) == ["57014"]
    assert rows(writer.simple("SELECT count(*) FROM email_threads WHERE subject = 'dropped'")) == [["0"]]


def test_copy_in_failing_in_the_middle(writer):
    """Data behind the server's error is discarded; exactly one ReadyForQuery comes."""
    writer.send(query("COPY email_threads (project_id, subject) FROM STDIN"))
    writer.until("G")
    writer.send(w.copy_data(b"not a number\tbad\n" * 10_000))
    writer.send(*(w.copy_data(b"1\tmore\n") for _ in range(1000)), w.COPY_DONE)
    assert w.errors(writer.until()) == ["22P02"]
    assert rows(writer.simple("SELECT 'in step'")) == [["in step"]]


def test_copy_in_by_extended_query(writer):
    writer.send(parse("COPY email_threads (project_id, subject) FROM STDIN"), bind(), execute(), w.FLUSH)
    assert kinds(writer.until("G")) == "12G"
    writer.send(w.copy_data(b"1\text\n"), w.COPY_DONE, SYNC)
    answer = writer.until()
    assert kinds(answer) == "CZ"
    assert [m.tag for m in answer if m.kind == "C"] == ["COPY 1"]


def test_sync_directly_behind_execute_of_copy_in(writer):
    """Postgres takes this Sync as part of the COPY: it gets no ReadyForQuery of its own."""
    writer.send(parse("COPY email_threads (project_id, subject) FROM STDIN"), bind(), execute(), SYNC)
    assert kinds(writer.until("G")) == "12G"
    writer.send(w.copy_data(b"1\tsync\n"), w.COPY_DONE, SYNC)
    assert kinds(writer.until()) == "CZ"
    assert rows(writer.simple("SELECT 'in step'")) == [["in step"]]


def test_failed_copy_in_by_extended_query_skips_to_sync(writer):
    writer.send(parse("COPY email_threads (project_id, subject) FROM STDIN"), bind(), execute(), w.FLUSH)
    writer.until("G")
    writer.send(w.copy_data(b"not a number\tbad\n"), w.COPY_DONE, w.FLUSH)
    assert w.errors(writer.until("E")) == ["22P02"]
    writer.send(parse("SELECT 'skipped'"), bind(), execute(), SYNC)
    assert kinds(writer.until()) == "Z"
    assert rows(writer.simple("SELECT 'in step'")) == [["in step"]]


def test_query_during_copy_in_ends_the_session(proxy, cluster):
    """Postgres cannot find its place again and closes; nobody else may notice."""
    with proxy.wire_login("app", "int") as wire:
        wire.send(query("COPY email_threads (project_id, subject) FROM STDIN"))
        wire.until("G")
        wire.send(w.copy_data(b"1\tbroken\n"), query("SELECT 1"))
        assert w.errors(wire.rest())[0] == "08P01"
    with cluster.connect("app_int") as check:
        assert check.execute("SELECT count(*) FROM email_threads WHERE subject = 'broken'").fetchone() == (0,)
    for _ in range(5):
        with proxy.wire_login("app", "int") as other:
            assert rows(other.simple("SELECT 'in step'")) == [["in step"]]


def test_copy_in_and_a_statement_behind_it_in_one_query(writer):
    writer.send(query("COPY email_threads (project_id, subject) FROM STDIN; SELECT 'behind'"))
    writer.until("G")
    writer.send(w.copy_data(b"1\tfirst\n"), w.COPY_DONE)
    answer = writer.until()
    assert kinds(answer) == "CTDCZ" and rows(answer) == [["behind"]]
