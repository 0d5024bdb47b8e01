"""asyncpg: always the extended protocol and binary values, its own statement cache and reset query."""

import asyncio

import asyncpg
import pytest


def parameters(proxy, user="app", tier="int", **extra):
    """asyncpg's arguments for one login."""
    login = proxy.login(user, tier)
    return {"host": login["host"], "port": login["port"], "user": login["user"], "password": login["password"],
            "database": login["dbname"], "server_settings": {"options": login["options"]}, "ssl": False} | extra


@pytest.fixture(params=[("app", "int"), ("app", "prod"), ("alice", "prod"), ("bot", "prod")], ids="-".join)
async def conn(proxy, request):
    """One connection of each kind of session."""
    connection = await asyncpg.connect(**parameters(proxy, *request.param))
    yield connection
    await connection.close()


@pytest.fixture
async def rw(proxy):
    """The service on prod."""
    connection = await asyncpg.connect(**parameters(proxy, "app", "prod"))
    yield connection
    await connection.close()


async def test_fetch(conn):
    assert await conn.fetchval("SELECT $1::int + 1", 41) == 42
    rows = await conn.fetch("SELECT id, name, created_at FROM projects WHERE id = ANY($1) ORDER BY id", [1, 2, 3])
    assert [r["name"] for r in rows] == ["project 1", "project 2", "project 3"]


async def test_types_that_need_introspection(conn):
    assert await conn.fetchval("SELECT ARRAY[ROW(1, 'a')]") == [(1, "a")]
    assert await conn.fetchval("SELECT '{\"a\": 1}'::jsonb") == '{"a": 1}'
    assert (await conn.fetchval("SELECT p FROM projects p WHERE id = 1"))["name"] == "project 1"


async def test_prepared_statement(conn):
    statement = await conn.prepare("SELECT $1::int * 2 AS twice")
    assert [a.name for a in statement.get_attributes()] == ["twice"]
    assert [await statement.fetchval(i) for i in range(20)] == [2 * i for i in range(20)]


async def test_statement_cache_overflows(proxy):
    connection = await asyncpg.connect(**parameters(proxy, "app", "prod", statement_cache_size=10))
    try:
        for turn in range(2):
            for i in range(60):
                assert await connection.fetchval(f"SELECT {i} + $1::int", turn) == i + turn
    finally:
        await connection.close()


async def test_several_statements_by_the_simple_protocol(conn):
    assert await conn.execute("SELECT 1; SELECT 2") == "SELECT 1"


async def test_cursor(conn):
    async with conn.transaction():
        got = [row[0] async for row in conn.cursor("SELECT i FROM generate_series(1, 500) i", prefetch=33)]
    assert got == list(range(1, 501))


async def test_executemany(rw):
    await rw.executemany("UPDATE email_drafts SET subject = $1 WHERE id = $2", [(f"asyncpg {i}", i) for i in range(300, 400)])
    assert await rw.fetchval("SELECT count(*) FROM email_drafts WHERE subject LIKE 'asyncpg %'") == 100


async def test_executemany_fails_as_a_whole(rw):
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await rw.executemany("INSERT INTO workflow_instances (project_id, status) VALUES ($1, 'whole')", [(1,), (2,), (-1,)])
    assert await rw.fetchval("SELECT count(*) FROM workflow_instances WHERE status = 'whole'") == 0


async def test_nested_transactions(rw):
    async with rw.transaction():
        await rw.execute("UPDATE projects SET status = 'outer' WHERE id = 30")
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with rw.transaction():
                await rw.execute("UPDATE projects SET status = 'inner' WHERE id = 30")
                await rw.execute("SELECT 1/0")
    assert await rw.fetchval("SELECT status FROM projects WHERE id = 30") == "outer"


async def test_copy(proxy):
    connection = await asyncpg.connect(**parameters(proxy))
    try:
        records = [(i % 50 + 1, "asyncpg copy") for i in range(1000)]
        assert await connection.copy_records_to_table("email_threads", records=records, columns=["project_id", "subject"]) == "COPY 1000"
        chunks = []

        async def keep(data):
            chunks.append(data)

        result = await connection.copy_from_query("SELECT subject FROM email_threads WHERE subject = $1", "asyncpg copy", output=keep)
        assert result == "COPY 1000" and b"".join(chunks) == b"asyncpg copy\n" * 1000
    finally:
        await connection.execute("DELETE FROM email_threads WHERE subject = 'asyncpg copy'")
        await connection.close()


async def test_listener(proxy):
    listener = await asyncpg.connect(**parameters(proxy))
    sender = await asyncpg.connect(**parameters(proxy))
    try:
        arrived = asyncio.Queue()
        await listener.add_listener("async_news", lambda *args: arrived.put_nowait(args[3]))
        await sender.execute("NOTIFY async_news, 'payload'")
        assert await asyncio.wait_for(arrived.get(), 5) == "payload"
    finally:
        await listener.close()
        await sender.close()


async def test_timeout_cancels_the_statement(proxy):
    connection = await asyncpg.connect(**parameters(proxy))
    try:
        with pytest.raises((asyncio.TimeoutError, asyncpg.QueryCanceledError)):
            await connection.fetch("SELECT pg_sleep(20)", timeout=0.5)
        assert await connection.fetchval("SELECT 'after'") == "after"
    finally:
        await connection.close()


@pytest.mark.parametrize("user, tier", [("app", "int"), ("app", "prod"), ("alice", "prod"), ("bot", "prod")])
async def test_pool_with_its_reset_query(proxy, user, tier):
    """Its pool sends SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL when a connection is returned."""
    async with asyncpg.create_pool(**parameters(proxy, user, tier), min_size=2, max_size=8) as pool:
        async def work(i):
            async with pool.acquire() as connection:
                await connection.execute("SET application_name = 'changed'")
                return await connection.fetchval("SELECT $1::int", i)

        assert await asyncio.gather(*(work(i) for i in range(100))) == list(range(100))
        async with pool.acquire() as connection:
            assert await connection.fetchval("SHOW application_name") != "changed"


async def test_reason_as_a_startup_parameter(proxy):
    connection = await asyncpg.connect(**parameters(proxy, "alice", "prod") | {"server_settings": {"pgbelay.reason": "INC-9"}})
    try:
        assert await connection.fetchval("SHOW pgbelay.reason") == "INC-9"
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


@pytest.mark.needs_proxy
async def test_refusal(rw):
    for query, args in (("DELETE FROM email_drafts", []), ("DELETE FROM email_drafts WHERE $1", [True]),
                        ("UPDATE email_drafts SET status = $1", ["x"])):
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await rw.execute(query, *args)
        assert refusal.value.detail.startswith("rule unbounded-write: ") and refusal.value.hint
        assert await rw.fetchval("SELECT 1") == 1


@pytest.mark.needs_proxy
async def test_refusal_in_a_transaction(rw):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with rw.transaction():
            await rw.execute("UPDATE projects SET status = 'gone' WHERE id = 31")
            await rw.execute("DELETE FROM email_drafts")
    assert await rw.fetchval("SELECT status FROM projects WHERE id = 31") != "gone"


@pytest.mark.needs_proxy
async def test_agent_is_read_only_on_prod(proxy):
    connection = await asyncpg.connect(**parameters(proxy, "bot", "prod"))
    try:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await connection.execute("UPDATE projects SET status = 'x' WHERE id = $1", 1)
        assert refusal.value.sqlstate == "25006"
    finally:
        await connection.close()
