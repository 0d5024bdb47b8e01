"""The protocol after login, sent raw: framing, simple and extended queries, COPY, errors, the end of a connection."""

import struct

import pytest

from support import wire as w
from support.ports import wait_until
from support.proxy import DIRECT
from support.sessions import rows, status
from support.wire import SYNC, Closed, bind, close, describe, execute, kinds, message, parse, query


# --- framing ---


@pytest.mark.parametrize("data", [
    struct.pack("!ci", b"Q", -1),
    struct.pack("!ci", b"Q", 0),
    struct.pack("!ci", b"Q", 3),
    struct.pack("!ci", b"Q", 0x7FFFFFF0),
    struct.pack("!ci", b"S", 0x7FFFFFF0),
    struct.pack("!ci", b"P", -2147483648),
    message("?", b"what"),
    message("Z", b"I"),
    message("\0", b""),
    message("p", b"password\0"),
], ids=lambda d: d[:12].hex())
def test_broken_framing_ends_the_session(proxy, data):
    with proxy.wire_login("alice") as wire:
        wire.send(data)
        wire.end()
        messages = wire.rest()
        assert kinds(messages) in ("", "E", "EZ"), messages
        assert set(w.errors(messages)) <= {"08P01"}
    with proxy.wire_login("alice") as wire:
        assert kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("data", [
    message("Q", b"SELECT 1"),
    message("Q", b""),
    message("Q", b"SELECT 1\0more"),
    message("Q", b"SELECT 1\0" + query("DELETE FROM projects")),
    message("Q", b"SELECT 1\0\0"),
], ids=lambda d: d[:24].hex())
def test_malformed_query_is_an_error_and_nothing_runs(proxy, cluster, data):
    before = len(cluster.logged("DELETE FROM projects"))
    with proxy.wire_login("alice") as wire:
        wire.send(data)
        messages = wire.until()
        assert w.errors(messages) == ["08P01"]
        assert "D" not in kinds(messages)
        assert kinds(wire.simple("SELECT 1")) == "TDCZ"
    assert len(cluster.logged("DELETE FROM projects")) == before


@pytest.mark.parametrize("data", [
    message("P", b""),
    message("P", b"name"),
    message("P", b"\0SELECT 1\0"),
    message("P", b"\0SELECT 1\0\0\1"),
    message("P", b"\0SELECT 1\0\xff\xff"),
    message("P", b"\0SELECT 1\0\0\0extra"),
    message("B", b""),
    message("B", b"\0\0"),
    message("B", b"\0\0\0\1"),
    message("B", b"\0\0\0\0\0\1\0\0\0\x09abc"),
    message("B", b"\0\0\0\0\0\1\x7f\xff\xff\xff"),
    message("B", b"\0\0\0\0\xff\xff"),
    message("D", b""),
    message("D", b"X\0"),
    message("D", b"S"),
    message("E", b""),
    message("E", b"\0"),
    message("E", b"\0\0\0"),
    message("C", b""),
    message("C", b"X\0"),
    message("F", b""),
    message("S", b"x"),
    message("H", b"x"),
], ids=lambda d: d[:20].hex())
def test_malformed_extended_message_is_an_error(proxy, data):
    """Whether the session goes on is left open, as Postgres itself differs by message; another one works in any case."""
    with proxy.wire_login("alice") as wire:
        wire.send(data, SYNC)
        try:
            messages = wire.until()
            assert "D" not in kinds(messages)
        except Closed:
            pass
    with proxy.wire_login("alice") as wire:
        assert kinds(wire.simple("SELECT 1")) == "TDCZ"


def test_query_in_small_pieces(wire):
    for byte in query("SELECT 'piecewise'"):
        wire.send(bytes([byte]))
    assert rows(wire.until()) == [["piecewise"]]


def test_many_queries_in_one_write(wire):
    wire.send(*(query(f"SELECT {i}") for i in range(500)))
    for i in range(500):
        assert rows(wire.until()) == [[str(i)]]


def test_large_query_and_large_row(wire):
    text = "x" * 5_000_000
    assert rows(wire.simple(f"SELECT length('{text}')")) == [["5000000"]]
    assert rows(wire.simple("SELECT repeat('y', 20000000)")) == [["y" * 20_000_000]]
    assert kinds(wire.simple("SELECT 1")) == "TDCZ"


@pytest.mark.needs_proxy
def test_announced_length_is_not_allocated(proxy):
    before = proxy.rss_kib()
    open_wires = []
    try:
        for _ in range(20):
            conn = proxy.wire_login("app")
            conn.send(struct.pack("!ci", b"Q", 500_000_000), b"SELECT 1")
            open_wires.append(conn)
        assert proxy.rss_kib() - before < 200_000
    finally:
        for conn in open_wires:
            conn.sock.close()


# --- simple queries ---


def test_empty_query(wire):
    for text in ("", ";", " ", "-- nothing", "/* nothing */"):
        assert kinds(wire.simple(text)) == "IZ", text


def test_several_statements_in_one_query(wire):
    answer = wire.simple("SELECT 1; SELECT 2 WHERE false; ; SELECT 3")
    assert kinds(answer) == "TDCTCTDCZ"
    assert rows(answer) == [["1"], ["3"]]


def test_error_in_the_middle_ends_the_query(wire):
    answer = wire.simple("SELECT 1; SELECT 1/0; SELECT 3")
    assert kinds(answer)[:3] == "TDC" and kinds(answer).endswith("EZ")
    assert w.errors(answer) == ["22012"]
    assert rows(answer) == [["1"]]
    assert status(answer) == "I"


def test_error_rolls_back_the_whole_query(writer, cluster):
    answer = writer.simple("UPDATE projects SET status = 'half' WHERE id = 7; SELECT 1/0")
    assert w.errors(answer) == ["22012"]
    assert rows(writer.simple("SELECT count(*) FROM projects WHERE status = 'half'")) == [["0"]]


def test_syntax_error_reports_its_position(wire):
    answer = wire.simple("SELECT 1 +")
    assert w.errors(answer) == ["42601"]
    fields = [m for m in answer if m.kind == "E"][0].fields()
    assert fields["S"] == fields["V"] == "ERROR" and fields["P"] == "11"


def test_transaction_status(wire):
    assert status(wire.simple("BEGIN")) == "T"
    assert status(wire.simple("SELECT 1")) == "T"
    assert status(wire.simple("SELECT 1/0")) == "E"
    assert w.errors(wire.simple("SELECT 1")) == ["25P02"]
    answer = wire.simple("COMMIT")
    assert [m.tag for m in answer if m.kind == "C"] == ["ROLLBACK"]
    assert status(answer) == "I"


def test_non_ascii_text(wire):
    assert rows(wire.simple("SELECT 'größe ☃ 日本' AS \"spalte ü\"")) == [["größe ☃ 日本"]]


def test_invalid_utf8_is_refused(wire):
    answer = wire.simple(b"SELECT 'a\xff\xfeb'")
    assert w.errors(answer) == ["22021"]
    assert kinds(wire.simple("SELECT 1")) == "TDCZ"


def test_warnings_are_passed_on(wire):
    answer = wire.simple("ROLLBACK")
    assert [m.fields()["C"] for m in answer if m.kind == "N"] == ["25P01"]
    assert [m.tag for m in answer if m.kind == "C"] == ["ROLLBACK"]


def test_parameter_status_follows_set(wire):
    wire.simple("SET application_name = 'renamed'")
    assert wire.parameters["application_name"] == "renamed"
    wire.simple("SET TimeZone = 'Europe/Paris'")
    assert wire.parameters["TimeZone"] == "Europe/Paris"
    wire.simple("RESET TimeZone")
    assert wire.parameters["TimeZone"] != "Europe/Paris"


# --- extended queries ---


def test_extended_query(wire):
    wire.send(parse("SELECT $1::int + 1"), bind(values=["41"]), describe("P"), execute(), SYNC)
    answer = wire.until()
    assert kinds(answer) == "12TDCZ"
    assert rows(answer) == [["42"]]


def test_flush_gives_answers_before_sync(wire):
    wire.send(parse("SELECT 'flushed'"), bind(), describe("P"), execute(), w.FLUSH)
    assert kinds(wire.until("C")) == "12TDC"
    assert wire.silent()
    wire.send(SYNC)
    assert kinds(wire.until()) == "Z"


def test_parse_describe_flush_then_sync(wire):
    """Leaves no half-open transaction on the server's connection."""
    wire.send(parse("SELECT id, name FROM projects WHERE id = $1", "d1"), describe("S", "d1"), w.FLUSH)
    answer = wire.until("T")
    assert kinds(answer) == "1tT"
    assert struct.unpack("!hI", [m for m in answer if m.kind == "t"][0].body) == (1, 20)
    wire.send(SYNC)
    assert kinds(wire.until()) == "Z"
    assert status(wire.simple("SELECT 1")) == "I"


def test_describe_of_a_statement_without_rows(writer):
    writer.send(parse("UPDATE projects SET name = name WHERE id = $1"), describe("S"), SYNC)
    assert kinds(writer.until()) == "1tnZ"


def test_empty_extended_query(wire):
    wire.send(parse(""), bind(), describe("P"), execute(), SYNC)
    assert kinds(wire.until()) == "12nIZ"


def test_null_and_empty_parameters(wire):
    wire.send(parse("SELECT $1::text IS NULL, $2::text = ''"), bind(values=[None, ""]), execute(), SYNC)
    assert rows(wire.until()) == [["t", "t"]]


def test_portal_in_pieces(wire):
    wire.send(parse("SELECT i FROM generate_series(1, 5) i"), bind(portal="p"), execute("p", 2), w.FLUSH)
    assert kinds(wire.until("s")) == "12DDs"
    wire.send(execute("p", 2), execute("p", 2), SYNC)
    answer = wire.until()
    assert kinds(answer) == "DDsDCZ"
    assert [m.tag for m in answer if m.kind == "C"] == ["SELECT 1"]


def test_two_portals_interleaved(wire):
    wire.simple("BEGIN")
    wire.send(parse("SELECT i FROM generate_series($1::int, 9) i", "series"), bind("series", "a", ["1"]), bind("series", "b", ["5"]),
              execute("a", 1), execute("b", 1), execute("a", 1), execute("b", 1), SYNC)
    assert rows(wire.until()) == [["1"], ["5"], ["2"], ["6"]]
    wire.send(execute("a", 1), SYNC)
    assert rows(wire.until()) == [["3"]]
    assert status(wire.simple("COMMIT")) == "I"
    wire.send(execute("a", 1), SYNC)
    assert w.errors(wire.until()) == ["34000"]


def test_named_statement_lives_across_transactions(wire):
    wire.send(parse("SELECT $1::text", "kept"), SYNC)
    assert kinds(wire.until()) == "1Z"
    for value in ("a", "b"):
        wire.send(bind("kept", values=[value]), execute(), SYNC)
        assert rows(wire.until()) == [[value]]
    wire.send(close("S", "kept"), SYNC)
    assert kinds(wire.until()) == "3Z"
    wire.send(bind("kept", values=["c"]), SYNC)
    assert w.errors(wire.until()) == ["26000"]


def test_unnamed_statement_is_replaced(wire):
    wire.send(parse("SELECT 1"), SYNC, parse("SELECT 2"), SYNC, bind(), execute(), SYNC)
    wire.until(), wire.until()
    assert rows(wire.until()) == [["2"]]


def test_unnamed_statement_is_gone_after_a_failed_parse(wire):
    wire.send(parse("SELECT 1"), SYNC)
    wire.until()
    wire.send(parse("SELECT FROM WHERE"), SYNC)
    assert w.errors(wire.until()) == ["42601"]
    wire.send(bind(), execute(), SYNC)
    assert w.errors(wire.until()) == ["26000"]


def test_unnamed_statement_is_gone_after_a_simple_query(wire):
    wire.send(parse("SELECT 1"), SYNC)
    wire.until()
    wire.simple("SELECT 2")
    wire.send(bind(), execute(), SYNC)
    assert w.errors(wire.until()) == ["26000"]


def test_failed_parse_of_a_named_statement_leaves_no_statement(wire):
    wire.send(parse("SELECT FROM WHERE", "bad"), SYNC)
    assert w.errors(wire.until()) == ["42601"]
    wire.send(close("S", "bad"), SYNC)
    assert kinds(wire.until()) == "3Z"
    wire.send(parse("SELECT 1", "bad"), bind("bad"), execute(), SYNC)
    assert kinds(wire.until()) == "12DCZ"


@pytest.mark.parametrize("messages, sqlstate", [
    ([bind("nosuch")], "26000"),
    ([describe("S", "nosuch")], "26000"),
    ([describe("P", "nosuch")], "34000"),
    ([execute("nosuch")], "34000"),
    ([parse("SELECT 1"), bind(portal="c"), close("P", "c"), execute("c")], "34000"),
    ([parse("SELECT 1"), bind(values=["one too many"])], "08P01"),
    ([parse("SELECT $1::int"), bind(values=["not a number"])], "22P02"),
    ([parse("SELECT 1; SELECT 2")], "42601"),
    ([parse("SELECT 1"), bind(portal="twice"), bind(portal="twice")], "42P03"),
    ([parse("SELECT $1::int", types=[999999])], None),
])
def test_error_then_skip_to_sync(wire, messages, sqlstate):
    wire.send(*messages, parse("SELECT 'skipped'"), bind(), execute(), SYNC, parse("SELECT 'after'"), bind(), execute(), SYNC)
    answer = wire.until()
    assert len(w.errors(answer)) == 1 and sqlstate in (None, w.errors(answer)[0])
    assert rows(answer) == []
    assert kinds(answer).endswith("EZ")
    assert rows(wire.until()) == [["after"]]


def test_parse_of_a_name_in_use(wire):
    wire.send(parse("SELECT 'first'", "taken"), SYNC, parse("SELECT 'second'", "taken"), SYNC)
    assert kinds(wire.until()) == "1Z"
    assert w.errors(wire.until()) == ["42P05"]
    wire.send(bind("taken"), execute(), SYNC)
    assert rows(wire.until()) == [["first"]]


def test_query_while_skipping_to_sync_gets_no_answer(wire):
    wire.send(parse("SELECT FROM WHERE"), w.FLUSH)
    assert w.errors(wire.until("E")) == ["42601"]
    wire.send(query("SELECT 'ignored'"), bind(), execute(), describe("P"), close("S", "x"), w.FLUSH)
    assert wire.silent()
    wire.send(SYNC)
    assert kinds(wire.until()) == "Z"
    assert rows(wire.simple("SELECT 'again'")) == [["again"]]


def test_close_of_what_does_not_exist(wire):
    wire.send(close("S", "nosuch"), close("P", "nosuch"), SYNC)
    assert kinds(wire.until()) == "33Z"


def test_sync_alone(wire):
    wire.send(SYNC, SYNC, SYNC)
    for _ in range(3):
        assert kinds(wire.until()) == "Z"


def test_simple_query_behind_extended_without_sync(wire):
    wire.send(parse("SELECT 1"), bind(), execute(), query("SELECT 2"))
    answer = wire.until()
    assert rows(answer) == [["1"], ["2"]]
    assert kinds(answer) == "12DCTDCZ"


def test_pipeline_of_many_syncs(wire):
    wire.send(*(part for i in range(300) for part in (parse(f"SELECT {i}"), bind(), execute(), SYNC)))
    for i in range(300):
        assert rows(wire.until()) == [[str(i)]]


def test_pipeline_is_one_transaction_to_the_next_sync(writer):
    update = "UPDATE projects SET status = 'piped' WHERE id = 8"
    writer.send(parse(update), bind(), execute(), parse("SELECT 1/0"), bind(), execute(), SYNC)
    assert w.errors(writer.until()) == ["22012"]
    assert rows(writer.simple("SELECT count(*) FROM projects WHERE status = 'piped'")) == [["0"]]


def test_begin_and_commit_in_the_extended_protocol(writer):
    for text, state in (("BEGIN", "T"), ("UPDATE projects SET name = name WHERE id = 9", "T"), ("COMMIT", "I")):
        writer.send(parse(text), bind(), execute(), SYNC)
        answer = writer.until()
        assert kinds(answer) == "12CZ" and status(answer) == state


@pytest.mark.needs_proxy
def test_function_call_is_refused_and_the_session_goes_on(wire):
    """Unless it is one of large objects: test_large_objects.py."""
    wire.send(w.function_call())
    answer = wire.until()
    assert w.errors(answer) == ["0A000"]
    assert [m for m in answer if m.kind == "E"][0].fields()["H"]
    assert kinds(wire.simple("SELECT 1")) == "TDCZ"


# --- the end of a connection ---


@pytest.mark.parametrize("ending", ["terminate", "close", "in a copy", "in a result"])
def test_what_a_lost_client_did_is_rolled_back(proxy, cluster, ending):
    with proxy.wire_login("app", "int") as conn:
        conn.simple("BEGIN")
        conn.simple("UPDATE projects SET status = 'lost' WHERE id = 11")
        if ending == "terminate":
            conn.send(w.TERMINATE)
            assert conn.is_closed()
        elif ending == "in a copy":
            conn.send(query("COPY email_threads (project_id, subject) FROM STDIN"))
            conn.until("G")
            conn.send(w.copy_data(b"1\tlost\n"))
        elif ending == "in a result":
            conn.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"))
            conn.until("D")

    def unlocked():
        with cluster.connect("app_int") as check:
            return check.execute("SELECT status <> 'lost' FROM projects WHERE id = 11 FOR UPDATE SKIP LOCKED").fetchone()

    assert wait_until(unlocked, "the row is free again", 15) == (True,)
    with cluster.connect("app_int") as check:
        assert check.execute("SELECT count(*) FROM email_threads WHERE subject = 'lost'").fetchone() == (0,)


def test_terminate_behind_a_pipeline(proxy, cluster):
    """What was sent before Terminate is done."""
    with proxy.wire_login("app", "int") as conn:
        conn.send(query("UPDATE projects SET status = 'last words' WHERE id = 12"), w.TERMINATE)
        conn.rest()

    def done():
        with cluster.connect("app_int") as check:
            return check.execute("SELECT 1 FROM projects WHERE id = 12 AND status = 'last words'").fetchone()
    wait_until(done, "the update is done")


def test_a_reader_that_stops_reading_does_not_fill_memory(proxy):
    """Back pressure: the server waits, nothing is buffered without end."""
    with proxy.wire_login("app", "int") as conn:
        before = 0 if DIRECT else proxy.rss_kib()
        conn.send(query("SELECT repeat('x', 10000) FROM generate_series(1, 50000)"))
        conn.until("T")
        with proxy.wire_login("app", "int") as other:
            for _ in range(50):
                assert kinds(other.simple("SELECT 1")) == "TDCZ"
        if not DIRECT:
            assert proxy.rss_kib() - before < 100_000


def test_a_statement_outlives_a_close_that_an_error_skips(wire):
    wire.send(parse("SELECT 1", "kept"), SYNC)
    assert w.errors(wire.until()) == []
    wire.send(parse("SELECT 1/0"), bind(), execute(), close("S", "kept"), parse("SELECT 2", "kept"), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    wire.send(bind("kept"), execute(), SYNC)
    assert rows(wire.until()) == [["1"]]


def test_a_statement_outlives_a_deallocate_that_an_error_skips(wire):
    wire.send(parse("SELECT 1", "kept"), SYNC)
    assert w.errors(wire.until()) == []
    for text in ("DEALLOCATE kept", "DEALLOCATE ALL"):
        wire.send(parse("SELECT 1/0"), bind(), execute(), parse(text), bind(), execute(), SYNC)
        assert w.errors(wire.until()) == ["22012"]
        wire.send(bind("kept"), execute(), SYNC)
        assert rows(wire.until()) == [["1"]]


def test_an_empty_statement_is_not_bound_in_a_failed_block(wire):
    wire.simple("BEGIN")
    wire.send(parse("SELECT 1/0"), bind(), execute(), SYNC, parse(""), bind(), execute(), SYNC)
    assert w.errors(wire.until() + wire.until()) == ["22012", "25P02"]


def test_an_error_behind_a_query_that_ended_a_batch_fails_its_block(wire):
    """What follows a Query that ends a batch without a Sync is of the next batch."""
    wire.send(parse("SELECT 1"), bind(), execute(), w.query("BEGIN; SELECT 2"), parse("SELECT nothing"), bind(), execute(), SYNC)
    assert wire.until()[-1].body == b"T"
    assert wire.until()[-1].body == b"E"


@pytest.mark.parametrize("query", ["", "DEALLOCATE ALL", "SELECT 1"])
def test_a_query_ends_a_batch_without_a_sync(writer, query):
    writer.simple("CREATE TEMP TABLE ended (id int)")
    writer.send(parse("INSERT INTO ended VALUES (1)"), bind(), execute(), w.query(query))
    assert writer.until()[-1].body == b"I"
    writer.simple("BEGIN; ROLLBACK")
    assert rows(writer.simple("SELECT id FROM ended")) == [["1"]]


def test_a_query_that_fails_undoes_the_batch_before_it(writer):
    writer.simple("CREATE TEMP TABLE ended (id int)")
    writer.send(parse("INSERT INTO ended VALUES (1)"), bind(), execute(), w.query("SELECT 1/0"), SYNC)
    assert writer.until()[-1].body == b"I"
    writer.until()
    assert rows(writer.simple("SELECT id FROM ended")) == []


def test_a_portal_outlives_a_close_that_an_error_skips(wire):
    wire.simple("BEGIN")
    wire.send(parse("SELECT 7"), bind("", "x"), SYNC)
    assert not w.errors(wire.until())
    wire.simple("SAVEPOINT s")
    wire.send(parse("SELECT 1/0"), bind(), execute(), close("P", "x"), parse("SELECT 8"), bind("", "x"), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    wire.simple("ROLLBACK TO s")
    wire.send(execute("x"), SYNC)
    assert rows(wire.until()) == [["7"]]


def test_a_portal_that_a_savepoint_took_away_can_be_bound_again(wire):
    wire.simple("BEGIN; SAVEPOINT s")
    wire.send(parse("SELECT 7"), bind("", "x"), SYNC)
    assert not w.errors(wire.until())
    wire.simple("ROLLBACK TO s")
    wire.send(execute("x"), SYNC)
    assert w.errors(wire.until()) == ["34000"]
    wire.simple("ROLLBACK TO s")
    wire.send(parse("SELECT 8"), bind("", "x"), bind("", "x"), SYNC)
    assert w.errors(wire.until()) == ["42P03"]


def test_skipped_unnamed_statements_leave_the_one_before(wire):
    wire.send(parse("SELECT 1/0"), bind(), execute(), parse("SELECT 2"), bind(), parse("SELECT 3"), bind(), parse("SELECT 4"), SYNC,
              bind(), execute(), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    assert w.errors(wire.until()) == ["22012"]
    wire.send(bind(), execute(), SYNC)
    assert w.errors(wire.until()) == ["22012"]


def test_what_a_later_batch_prepares_outlives_the_error_of_an_earlier_one(wire):
    wire.send(parse("SELECT 1/0"), bind(), execute(), parse("SELECT 1", "b"), SYNC, parse("SELECT 2", "b"), parse("SELECT 3"), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    assert w.errors(wire.until()) == []
    wire.send(bind("b"), execute(), bind(), execute(), SYNC)
    assert rows(wire.until()) == [["2"], ["3"]]


def test_what_an_earlier_batch_failed_to_parse_is_parsed_by_the_next(wire):
    """Both batches are on their way before the server has answered the first."""
    wire.send(parse("SELECT 5", "kept"), SYNC, parse("SELECT 1/0", "bad"), SYNC)
    assert not w.errors(wire.until() + wire.until())
    wire.simple("DISCARD PLANS")
    wire.send(bind("bad"), execute(), bind("kept"), execute(), SYNC, bind("kept"), execute(), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    assert rows(wire.until()) == [["5"]]
    wire.send(bind("bad"), execute(), parse("SELECT 6"), bind(), execute(), SYNC, parse("SELECT 7"), SYNC, bind(), execute(), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    assert not w.errors(wire.until())
    assert rows(wire.until()) == [["7"]]


def test_an_unnamed_statement_that_was_skipped_is_not_another_one(wire):
    """Nor that of another session that had the connection before."""
    wire.send(parse("SELECT 1/0", "bad"), parse("SELECT 'before'"), SYNC)
    assert not w.errors(wire.until())
    wire.send(bind("bad"), execute(), parse("SELECT 'skipped'"), SYNC, bind(), execute(), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    assert rows(wire.until()) == [["before"]]


def test_a_portal_that_was_skipped_is_not_the_one_before(wire):
    wire.simple("BEGIN; SAVEPOINT s")
    wire.send(parse("SELECT 'before'"), bind("", "x"), SYNC)
    wire.until()
    wire.simple("RELEASE s; SAVEPOINT s")
    wire.send(parse("SELECT 1/0"), bind(), execute(), close("P", "x"), parse("SELECT 'skipped'"), bind("", "x"), SYNC,
              parse("ROLLBACK TO s"), bind(), execute(), execute("x"), SYNC)
    assert w.errors(wire.until()) == ["22012"]
    assert rows(wire.until()) == [["before"]]


def test_a_parse_in_a_failed_block_ends_the_unnamed_statement(wire):
    wire.simple("BEGIN")
    wire.send(parse("SELECT 1/0"), bind(), execute(), SYNC, parse("SELECT 2"), SYNC, bind(), SYNC)
    assert [w.errors(wire.until()) for _ in range(3)] == [["22012"], ["25P02"], ["26000"]]


@pytest.mark.parametrize("before", [[parse("SELECT 1/0"), bind(), execute(), SYNC], [parse("SELECT 1/0"), bind(), execute(), SYNC, SYNC],
                                    [parse("SELECT 1"), bind("", "x"), parse("SELECT 1/0"), bind(), execute(), SYNC, close("P", "x")]])
def test_a_text_that_is_known_is_not_parsed_in_a_failed_block(wire, before):
    """Whether the batches are sent at once or one after the other."""
    for at_once in (True, False):
        wire.send(parse("SELECT 'known'", "known"), SYNC)
        assert not w.errors(wire.until())
        wire.send(close("S", "known"), SYNC)
        wire.until()
        wire.simple("BEGIN")
        batches = b"".join(before).split(SYNC)
        if at_once:
            wire.send(*before, parse("SELECT 'known'", "known"), SYNC)
            messages = [m for _ in batches for m in wire.until()]
        else:
            messages = []
            for i, batch in enumerate(batches):
                wire.send(batch, parse("SELECT 'known'", "known") if i == len(batches) - 1 else b"", SYNC)
                messages += wire.until()
        assert w.errors(messages) == ["22012", "25P02"], at_once
        assert kinds(messages)[-2:] == "EZ" and kinds(messages)[-3] in "Z3"
        wire.simple("ROLLBACK")


def test_an_error_takes_back_a_reset(proxy):
    with proxy.wire_login("app", "int") as wire:
        before = wire.parameters["application_name"]
        wire.simple("SET application_name = 'one'")
        wire.simple("BEGIN")
        wire.simple("RESET ALL")
        assert wire.parameters["application_name"] == before
        assert w.errors(wire.simple("SELECT 1/0")) == ["22012"]
        assert wire.parameters["application_name"] == "one"
        wire.simple("ROLLBACK")
        assert rows(wire.simple("SHOW application_name")) == [["one"]]


def test_a_reset_behind_a_rollback_to_a_savepoint_is_told(proxy):
    with proxy.wire_login("app", "int") as wire:
        before = wire.parameters["application_name"]
        wire.simple("SET application_name = 'one'")
        wire.simple("BEGIN; SAVEPOINT s")
        assert w.errors(wire.simple("SELECT 1/0")) == ["22012"]
        wire.simple("ROLLBACK TO s")
        wire.simple("RESET ALL")
        assert wire.parameters["application_name"] == before


def test_settings_are_put_back_in_a_block_before_its_isolation_level_is_set(wire):
    wire.simple("SET work_mem = '3MB'")
    wire.simple("BEGIN")
    wire.simple("RESET ALL")
    assert not w.errors(wire.simple("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
    assert rows(wire.simple("SHOW transaction_isolation")) == [["serializable"]]
    wire.simple("ROLLBACK")


def test_settings_are_not_put_back_in_a_block_that_an_error_on_its_way_fails(wire):
    wire.simple("BEGIN")
    wire.simple("RESET ALL")
    wire.send(execute("nothing"), SYNC, parse("ROLLBACK TO s"), execute("nothing"), SYNC, query(""))
    assert [w.errors(wire.until()) for _ in range(3)] == [["34000"], ["34000"], []]
    wire.simple("ROLLBACK")


@pytest.mark.parametrize("change", ["SET transaction_isolation = serializable", "SELECT set_config('transaction_isolation', 'serializable', false)",
                                    "SET transaction_deferrable = on", "BEGIN; SET transaction_isolation TO 'repeatable read'; COMMIT"])
def test_settings_of_a_transaction_end_with_it(proxy, change):
    with proxy.wire_login("app", "int") as wire, proxy.wire_login("app", "int") as other:
        wire.simple(change)
        # The next statement runs on another connection.
        other.simple("BEGIN; SELECT 1")
        for _ in range(2):
            assert rows(wire.simple("SHOW transaction_isolation")) == [["read committed"]]
            assert rows(wire.simple("SHOW transaction_deferrable")) == [["off"]]
            assert not w.errors(wire.simple("BEGIN; SELECT 1; COMMIT"))
