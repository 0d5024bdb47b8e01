"""max_rows_written in every form that the protocol and the language have: a table of 10,000 rows, a limit of 100. A write of 101 rows leaves the
table as it was and says so; one of 100 rows is kept."""

import struct

import pytest

from support import wire as w
from support.sessions import rows, status
from support.wire import SYNC, bind, describe, execute, kinds, parse, query

pytestmark = pytest.mark.needs_proxy

LIMIT, ROWS = 100, 10_000

# Each changes {n} rows of big, or makes as many.
WRITES = {
    "update": "UPDATE big SET v = 1 WHERE id <= {n}",
    "update of all by a condition that restricts nothing here": "UPDATE big SET v = 1 WHERE id <= {n} OR id = -1",
    "delete": "DELETE FROM big WHERE id <= {n}",
    "delete using": "DELETE FROM big b USING generate_series(1, {n}) s(i) WHERE b.id = s.i",
    "insert select": "INSERT INTO big SELECT i, 1 FROM generate_series(20001, 20000 + {n}) i",
    "on conflict": "INSERT INTO big SELECT i, 1 FROM generate_series(1, {n}) i ON CONFLICT (id) DO UPDATE SET v = excluded.v",
    "merge": "MERGE INTO big b USING generate_series(1, {n}) s(i) ON b.id = s.i WHEN MATCHED THEN UPDATE SET v = 1",
    "merge insert and delete": "MERGE INTO big b USING generate_series(10001 - {n}/2, 10000 + {n} - {n}/2) s(i) ON b.id = s.i"
                               " WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.i, 1)",
    "returning": "UPDATE big SET v = 1 WHERE id <= {n} RETURNING id",
    "in with": "WITH x AS (UPDATE big SET v = 1 WHERE id <= {n} RETURNING id) SELECT count(*) FROM x",
    "in with and behind it": "WITH x AS (UPDATE big SET v = 1 WHERE id <= {n} - 50 RETURNING id)"
                             " UPDATE big SET v = 2 WHERE id > 9950 AND (SELECT count(*) FROM x) >= 0",
    "partitions": "UPDATE parts SET v = 1 WHERE id <= {n}",
}


@pytest.fixture(scope="module")
def limited(cluster, make_module_proxy):
    cluster.create_database("row_limit")
    with cluster.connect("row_limit") as conn:
        conn.execute("CREATE TABLE big (id int PRIMARY KEY, v int); CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY HASH (id);"
                     "CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
                     "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    return make_module_proxy({"tiers": {"prod": {"max_rows_written": LIMIT}}}, {("app", "prod"): "row_limit"})


@pytest.fixture
def tables(cluster, limited):
    """The tables filled anew; a function that digests them."""
    with cluster.connect("row_limit") as conn:
        for table in ("big", "parts"):
            conn.execute(f"TRUNCATE {table}; INSERT INTO {table} SELECT i, 0 FROM generate_series(1, {ROWS}) i")
        yield lambda: conn.execute("SELECT (SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM big b),"
                                   " (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM parts p)").fetchone()


def simple(conn, sql):
    return conn.simple(sql)


def last_of_several(conn, sql):
    return conn.simple(f"SELECT 1; {sql}")


def first_of_several(conn, sql):
    return conn.simple(f"{sql}; SELECT 1")


def behind_another_write(conn, sql):
    return conn.simple(f"UPDATE big SET v = 7 WHERE id = 5000; {sql}")


def with_its_own_transaction(conn, sql):
    answer = conn.simple(f"BEGIN; {sql}; COMMIT")
    conn.simple("ROLLBACK")
    return answer


def extended(conn, sql):
    conn.send(parse(sql), bind(), describe("P"), execute(), SYNC)
    return conn.until()


def named_twice(conn, sql):
    conn.send(parse(sql, "kept"), SYNC)
    conn.until()
    conn.send(bind("kept"), execute(), SYNC)
    return conn.until()


def pipelined(conn, sql):
    """Between a read and another write, all up to one Sync."""
    conn.send(parse("SELECT 1"), bind(), execute(), parse(sql), bind(), execute(),
              parse("UPDATE big SET v = 9 WHERE id = 6000"), bind(), execute(), SYNC)
    return conn.until()


def pipelined_with_flush(conn, sql):
    conn.send(parse(sql), bind(), execute(), w.FLUSH, SYNC)
    return conn.until()


def a_row_at_a_time(conn, sql):
    """Execute with a row count: only the end of the portal tells how many rows there were."""
    conn.send(parse(sql), bind(portal="p"), execute("p", 1), SYNC)
    return conn.until()


def in_a_block(conn, sql):
    conn.simple("BEGIN")
    answer = conn.simple(sql)
    assert status(answer) == ("E" if w.errors(answer) else "T")
    conn.simple("COMMIT")
    return answer


def in_a_block_extended(conn, sql):
    conn.simple("BEGIN")
    answer = extended(conn, sql)
    assert status(answer) == ("E" if w.errors(answer) else "T")
    conn.simple("COMMIT")
    return answer


def behind_a_savepoint(conn, sql):
    """The client's own savepoint works: what came before it is kept, and here that is nothing."""
    conn.simple("BEGIN; SAVEPOINT s")
    answer = conn.simple(sql)
    if w.errors(answer):
        assert status(conn.simple("ROLLBACK TO s")) == "T"
    assert [m.tag for m in conn.simple("COMMIT") if m.kind == "C"] == ["COMMIT"]
    return answer


def sql_prepare(conn, sql):
    conn.simple(f"PREPARE kept AS {sql}")
    return conn.simple("EXECUTE kept")


def sql_prepare_extended(conn, sql):
    conn.simple(f"PREPARE kept AS {sql}")
    return extended(conn, "EXECUTE kept")


FORMS = [simple, last_of_several, first_of_several, behind_another_write, with_its_own_transaction, extended, named_twice, pipelined,
         pipelined_with_flush, a_row_at_a_time, in_a_block, in_a_block_extended, behind_a_savepoint, sql_prepare, sql_prepare_extended]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("write", WRITES)
def test_write(limited, tables, write, form):
    before = tables()
    with limited.wire_login("app", "prod") as conn:
        answer = form(conn, WRITES[write].format(n=LIMIT + 1))
        assert w.errors(answer) == ["54000"], answer
        fields = next(m for m in answer if m.kind == "E").fields()
        assert str(LIMIT) in fields["M"] + fields["D"] and fields["H"]
        assert rows(conn.simple("SELECT 'goes on'")) == [["goes on"]]
    assert tables() == before
    with limited.wire_login("app", "prod") as conn:
        answer = form(conn, WRITES[write].format(n=LIMIT))
        assert w.errors(answer) == [], answer
    assert tables() != before


def binary_rows(ids):
    """COPY's binary format (Postgres documentation, COPY)."""
    header = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
    return header + b"".join(struct.pack("!hiiii", 2, 4, i, 4, 0) for i in ids) + struct.pack("!h", -1)


COPIES = {
    "text": ("COPY big FROM STDIN", lambda ids: b"".join(b"%d\t0\n" % i for i in ids)),
    "csv": ("COPY big (id, v) FROM STDIN (FORMAT csv)", lambda ids: b"".join(b"%d,0\n" % i for i in ids)),
    "binary": ("COPY big FROM STDIN (FORMAT binary)", binary_rows),
}


@pytest.mark.parametrize("protocol", ["simple", "extended", "in a block"])
@pytest.mark.parametrize("copy", COPIES)
def test_copy(limited, tables, copy, protocol):
    sql, data = COPIES[copy]
    before = tables()
    for count in (LIMIT + 1, LIMIT):
        with limited.wire_login("app", "prod") as conn:
            if protocol == "in a block":
                conn.simple("BEGIN")
            if protocol == "extended":
                conn.send(parse(sql), bind(), execute(), w.FLUSH)
            else:
                conn.send(query(sql))
            conn.until("G")
            conn.send(w.copy_data(data(range(20_001, 20_001 + count))), w.COPY_DONE, *([SYNC] if protocol == "extended" else []))
            answer = conn.until()
            if protocol == "in a block":
                conn.simple("COMMIT")
            assert w.errors(answer) == (["54000"] if count > LIMIT else [])
            assert kinds(conn.simple("SELECT 1")) == "TDCZ"
        assert (tables() == before) == (count > LIMIT)


@pytest.mark.parametrize("form", [simple, extended, in_a_block], ids=lambda f: f.__name__)
@pytest.mark.parametrize("statement, rule", [
    ("EXPLAIN ANALYZE UPDATE big SET v = 1 WHERE id <= 101", "uncountable-write"),
    ("EXPLAIN (ANALYZE, COSTS off) WITH x AS (DELETE FROM big WHERE id <= 101 RETURNING id) SELECT * FROM x", "uncountable-write"),
    ("COPY (DELETE FROM big WHERE id <= 101 RETURNING *) TO STDOUT", "uncountable-write"),
    ("CREATE TEMP TABLE gone AS WITH x AS (DELETE FROM big WHERE id <= 101 RETURNING *) SELECT * FROM x", "uncountable-write"),
    ("CREATE TABLE copy_of_big AS SELECT * FROM big WHERE id <= 101", "ddl"),
    ("SELECT * INTO copy_of_big FROM big WHERE id <= 101", "ddl"),
    ("DO $$ BEGIN UPDATE big SET v = 1 WHERE id <= 101; END $$", "code-block"),
])
def test_what_cannot_be_counted_is_refused(limited, tables, statement, rule, form):
    before = tables()
    with limited.wire_login("app", "prod") as conn:
        answer = form(conn, statement)
        assert [m.fields()["D"].split(":")[0] for m in answer if m.kind == "E"] == [f"rule {rule}"], answer
    assert tables() == before


def test_rows_of_a_cursor_are_writes_of_their_own(limited, tables):
    """The limit is one statement's: WHERE CURRENT OF changes one row each time (docs/policy.md, max_rows_written)."""
    before = tables()
    with limited.wire_login("app", "prod") as conn:
        conn.simple("BEGIN; DECLARE c CURSOR FOR SELECT id FROM big ORDER BY id FOR UPDATE")
        for _ in range(LIMIT + 1):
            conn.simple("FETCH c")
            assert w.errors(conn.simple("UPDATE big SET v = 1 WHERE CURRENT OF c")) == []
        conn.simple("COMMIT")
    assert tables() != before


def test_function_call_writes_no_rows(limited, tables):
    """FunctionCall reaches large objects alone: the function that would change rows cannot be called by its number."""
    before = tables()
    with limited.wire_login("app", "prod") as conn:
        # query_to_xml
        conn.send(w.function_call(2925))
        assert w.errors(conn.until()) == ["0A000"]
    assert tables() == before


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_in_a_failed_block_the_servers_own_error(limited, protocol):
    """Nothing is counted where every statement is refused."""
    write = WRITES["in with"].format(n=5)
    with limited.wire_login("app", "prod") as conn:
        conn.simple("BEGIN")
        conn.simple("SELECT 1/0")
        if protocol == "simple":
            answer = conn.simple(write)
        else:
            conn.send(parse(write), bind(), execute(), SYNC)
            answer = conn.until()
        assert w.errors(answer) == ["25P02"] and status(answer) == "E"


def test_behind_a_commit_without_a_sync(limited, tables):
    """The block has ended though no ReadyForQuery has told so: what follows has a transaction of the proxy's."""
    before = tables()
    with limited.wire_login("app", "prod") as conn:
        conn.simple("BEGIN")
        conn.send(parse("COMMIT"), bind(), execute(), query(WRITES["update"].format(n=LIMIT + 1)))
        answer = conn.until()
        assert w.errors(answer) == ["54000"] and status(answer) == "I"
    assert tables() == before


def test_behind_a_begin_without_a_sync(limited, tables):
    """The block is the client's own, which it alone ends."""
    before = tables()
    with limited.wire_login("app", "prod") as conn:
        conn.send(parse("BEGIN"), bind(), execute(), query(WRITES["update"].format(n=5)))
        answer = conn.until()
        assert w.errors(answer) == [] and status(answer) == "T"
        conn.simple("ROLLBACK")
    assert tables() == before


IMPLICIT = [
    # Text of several statements, warnings, errors, status.
    ("{w}; BEGIN; {w}", [], [], "T"), ("{w}; START TRANSACTION ISOLATION LEVEL SERIALIZABLE", [], ["25001"], "I"),
    ("{w}; COMMIT; {w}", ["25P01"], [], "I"), ("{w}; ROLLBACK; {w}", ["25P01"], [], "I"), ("{w}; SAVEPOINT a; {w}", [], ["25P01"], "I"),
    ("{w}; RELEASE a", [], ["25P01"], "I"), ("{w}; ROLLBACK TO a", [], ["25P01"], "I"), ("{w}; COMMIT AND CHAIN", [], ["25P01"], "I"),
    ("{w}; ROLLBACK AND CHAIN", [], ["25P01"], "I"), ("BEGIN; {w}; BEGIN", ["25001"], [], "T"),
]


@pytest.mark.parametrize("text,warnings,errors,state", IMPLICIT)
def test_an_implicit_transaction_is_no_block(limited, tables, cluster, text, warnings, errors, state):
    """The proxy's transaction around the statements of a text behaves as Postgres's implicit one."""
    text = text.format(w=WRITES["update"].format(n=5))
    told = []
    for conn in (limited.wire_login("app", "prod"), cluster.wire("row_limit")):
        with conn:
            answer = conn.simple(text)
            assert [m.fields()["C"] for m in answer if m.kind == "N"] == warnings
            assert w.errors(answer) == errors and status(answer) == state
            told.append([{k: v for k, v in m.fields().items() if k in "SVCM"} for m in answer if m.kind in "NE"])
            conn.simple("ROLLBACK")
    assert told[0] == told[1]
