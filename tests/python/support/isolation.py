"""Random interleavings of sessions, played through the proxy and on private connections at once: the answers must be the same.

A *step* sends the bytes of one to eight sessions before it reads any answer; an *interleaving* is a number of steps. What
one session does cannot change another's answer within a step, so the answers do not depend on timing.
"""

import random
import re
from dataclasses import dataclass, field

from . import wire as w
from .ports import wait_until

SESSIONS = 20
STEPS = 12
# Cleared by ReadyForQuery or by the question below: what keeps a session on its connection.
HELD = """
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r')
     + (SELECT count(*) FROM pg_listening_channels())
     + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
     + (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)
     + (SELECT count(*) FROM pg_cursors WHERE is_holdable)
"""

NAMES = ("work_mem", "search_path", "application_name", "DateStyle", "TimeZone", "app.tenant", "app.other", "extra_float_digits",
         "enable_seqscan", "client_min_messages", "IntervalStyle", "default_transaction_isolation", "bytea_output")
VALUES = {
    "work_mem": ("'1MB'", "'2MB'", "65", "'nonsense'", "DEFAULT"),
    "search_path": ("public", "pg_catalog, public", "'a b', public", "DEFAULT"),
    "application_name": ("'one'", "'it''s two'", "''", "DEFAULT"),
    "DateStyle": ("'German, DMY'", "'ISO, YMD'", "'SQL'", "DEFAULT"),
    "TimeZone": ("'Asia/Tokyo'", "-5", "'nowhere'", "DEFAULT"),
    "app.tenant": ("'t1'", "'t2'", "42", "DEFAULT"),
    "app.other": ("'x'", "''", "DEFAULT"),
    "extra_float_digits": ("0", "3", "99", "DEFAULT"),
    "enable_seqscan": ("off", "on", "DEFAULT"),
    "client_min_messages": ("warning", "error", "notice", "DEFAULT"),
    "IntervalStyle": ("iso_8601", "verbose", "postgres", "DEFAULT"),
    # Not serializable: which of two transactions fails depends on how their statements fall together.
    "default_transaction_isolation": ("'read uncommitted'", "'repeatable read'", "DEFAULT"),
    "bytea_output": ("escape", "hex", "DEFAULT"),
}
SHOWN = "SELECT * FROM iso_shown"

# What is refused nowhere: rules that would refuse something are off, and limits are out of reach.
_OPEN = {key: "allow" for key in ("unbounded_write", "truncate_drop", "ddl", "unsafe_ddl", "dangerous", "opaque_write", "code_block")}
_FAR = 1_000_000_000
# How the proxy takes the statements: as they are; each write counted and undone if it is too many rows; each statement planned
# first; all of it, with limits on what is read as well.
WAYS = {
    "plain": {"tier": "int", "limits": {}},
    "counted": {"tier": "stg", "limits": {"max_rows_written": _FAR}},
    "planned": {"tier": "stg", "limits": {"max_rows_written": "none", "max_estimated_cost": _FAR * 1_000}},
    "guarded": {"tier": "stg", "limits": {"max_rows_written": _FAR, "max_rows_returned": _FAR, "max_bytes_returned": "900GiB",
                                          "max_estimated_cost": _FAR * 1_000, "max_estimated_rows": _FAR}},
}

# What the guarded tier refuses whatever the configuration says.
_REFUSED = re.compile(r"SET ROLE (app|nobody)|SELEC 1")


def config(way, pool):
    """The proxy's configuration for one of `WAYS`, with so many connections."""
    tier, limits = WAYS[way]["tier"], WAYS[way]["limits"]
    result = {"tiers": {tier: {"pool": {"min": 0, "max": pool, "wait": "10s"}}}}
    if limits:
        result["roles"] = {"service": {tier: _OPEN | limits}}
    return result
# A custom setting that was ever set on a connection is the empty string there for good (docs/architecture.md, known limits).
SETUP = f"""
CREATE TABLE iso_rows (session int, value int);
CREATE TABLE iso_shape (session int, value int);
CREATE SEQUENCE iso_numbers;
CREATE SEQUENCE iso_others INCREMENT 10;
INSERT INTO iso_shape SELECT n, n FROM generate_series(0, 30) n;
CREATE VIEW iso_shown AS SELECT {", ".join(f"NULLIF(current_setting('{name}', true), '') AS {name.replace('.', '_')}" for name in NAMES)},
    current_user AS role, '2026-02-01'::date::text AS day, '1 day'::interval::text AS span, now() IS NULL AS never;
"""


@dataclass
class Action:
    """One thing that a session does: the bytes, and whether the session may need a connection of its own from then on."""

    data: bytes
    label: str
    holds: bool = False
    # Its answer depends on what other sessions have done, or the other way round: it has its step to itself.
    alone: bool = False
    reads: int = 1


def _sql(text, **kwargs):
    return Action(w.query(text), text, **kwargs)


def _setting(rng, me):
    name = rng.choice(NAMES)
    value = rng.choice(VALUES[name])
    text = rng.choice((
        f"SET {name} = {value}", f"SET {name} TO {value}", f"SET SESSION {name} = {value}",
        # The default of a transaction's own setting is the server's, not the one of the start-up message.
        SHOWN if (name, value) == ("application_name", "DEFAULT") else f"SET LOCAL {name} = {value}",
        f"RESET {name}", SHOWN if "." in name else f"SHOW {name}", SHOWN,
        f"SELECT set_config('{name}', {value if value.startswith(chr(39)) else repr(value)}, {rng.choice(('true', 'false'))})"
        if value != "DEFAULT" else SHOWN,
        f"BEGIN; SET {name} = {value}; ROLLBACK; {SHOWN}",
        f"BEGIN; SET {name} = {value}; COMMIT; {SHOWN}",
        f"SET {name} = {value}; SELECT 1/0",
        f"SET {name} = {value}; {SHOWN}",
        f"BEGIN; SAVEPOINT a; SET {name} = {value}; ROLLBACK TO a; COMMIT; {SHOWN}",
        f"BEGIN; SET {name} = {value}; SAVEPOINT a; SELECT 1/0; COMMIT",
    ))
    # A text that opens a block ends it, except where an error stops it in between.
    return _sql(text, holds=text.startswith("BEGIN"))


def _plain(rng, me):
    return _sql(rng.choice((
        SHOWN, SHOWN, "SELECT 1", "", "SELECT 1/0", "SELEC 1", "SELECT * FROM nowhere", "RESET ALL", "SELECT 1; SELECT 2; SELECT 3/0; SELECT 4",
        "SHOW transaction_isolation", "SHOW transaction_read_only", f"SELECT sum(value) FROM iso_rows WHERE session = {me}",
        f"INSERT INTO iso_rows VALUES ({me}, {rng.randrange(9)}) RETURNING value",
        f"UPDATE iso_rows SET value = value + 1 WHERE session = {me}",
        f"DELETE FROM iso_rows WHERE session = {me} AND value > 20",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET ROLE app", "SET ROLE NONE", "RESET ROLE", "SET ROLE nobody_at_all",
        "DO $$ BEGIN PERFORM set_config('app.tenant', 'from a block', false); RAISE NOTICE 'done'; END $$",
        "DISCARD PLANS", "DISCARD SEQUENCES", "VALUES (1), (2)", "SELECT pg_notify('nobody', 'x') IS NULL", "NOTIFY nobody",
        "LOCK TABLE iso_rows IN ACCESS SHARE MODE", "SELECT NULL::text, ''",
    )))


def _transaction(rng, me):
    return _sql(rng.choice((
        "BEGIN", "BEGIN", "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ WRITE", "COMMIT", "COMMIT",
        "END", "ROLLBACK", "ROLLBACK", "ABORT", "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b", "RELEASE a",
        "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "SET TRANSACTION READ ONLY", "SET CONSTRAINTS ALL DEFERRED",
    )), holds=True)


def _kept(rng, me):
    key, name = rng.randrange(3), rng.choice("pq")
    return _sql(rng.choice((
        "CREATE TEMP TABLE iso_temp (value int)", "CREATE TEMP TABLE iso_temp (value int) ON COMMIT DROP",
        "INSERT INTO iso_temp VALUES (1), (2)", "SELECT * FROM iso_temp", "DROP TABLE iso_temp", "DROP TABLE IF EXISTS iso_temp",
        # What was prepared before means the other table or this one (docs/architecture.md, known limits).
        "DEALLOCATE ALL; CREATE TEMP TABLE iso_rows AS SELECT 7 AS session, 7 AS value", "DISCARD TEMP",
        f"LISTEN channel_{key}", f"UNLISTEN channel_{key}", "UNLISTEN *", "SELECT count(*) FROM pg_listening_channels()",
        f"PREPARE {name} AS SELECT $1::int + 1, app_tenant FROM iso_shown", f"EXECUTE {name}(1)", f"DEALLOCATE {name}", "DEALLOCATE ALL",
        "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 9)", "DECLARE c CURSOR FOR SELECT generate_series(1, 9)", "FETCH 2 FROM c",
        "MOVE c", "CLOSE c", "CLOSE ALL", "DISCARD ALL", "DISCARD ALL",
    )), holds=True)


def _lock(rng, me):
    key = rng.randrange(3)
    return _sql(rng.choice((
        f"SELECT pg_try_advisory_lock({key})", f"SELECT pg_try_advisory_lock({key})", f"SELECT pg_advisory_unlock({key})",
        f"SELECT pg_try_advisory_lock_shared({key})", f"SELECT pg_advisory_unlock_shared({key})", "SELECT pg_advisory_unlock_all()",
        f"SELECT pg_try_advisory_xact_lock({key})",
    )), holds=True, alone=True)


def _shared(rng, me):
    """What others see, or what others have done."""
    text = rng.choice((
        "SELECT count(*), sum(value) FROM iso_rows", "SELECT nextval('iso_numbers')",
        f"NOTIFY channel_{rng.randrange(3)}, '{rng.randrange(100)}'", f"SELECT pg_notify('channel_{rng.randrange(3)}', 'f')",
        "SET LOCAL lock_timeout = '20ms'; ALTER TABLE iso_shape ADD COLUMN extra int",
        "SET LOCAL lock_timeout = '20ms'; ALTER TABLE iso_shape DROP COLUMN extra",
        "SELECT setval('iso_numbers', 1000, false)",
    ))
    return _sql(text, alone=True)


def _sequence(rng, me):
    return _sql(rng.choice((
        "SELECT nextval('iso_numbers')", "SELECT nextval('iso_numbers'); SELECT currval('iso_numbers'), lastval()", "DISCARD SEQUENCES",
        "BEGIN; SELECT nextval('iso_numbers'); SELECT lastval(); COMMIT",
        "SELECT nextval('iso_numbers'), nextval('iso_others'); SELECT currval('iso_others'), lastval(), currval('iso_numbers')",
        "BEGIN; SELECT nextval('iso_others'); SAVEPOINT a; SELECT nextval('iso_others'); ROLLBACK TO a; SELECT lastval(); COMMIT",
        "SELECT nextval('iso_numbers'); DISCARD SEQUENCES; SELECT nextval('iso_others'); SELECT lastval(), currval('iso_others')",
    )), alone=True, holds=True)


STATEMENTS = ("SELECT $1::int * 2, app_tenant FROM iso_shown", "SELECT value FROM iso_shape WHERE session = $1",
              "SELECT generate_series(1, $1::int)", "INSERT INTO iso_rows VALUES ($1::int + 100, 1) RETURNING session", "SELECT 10 / NULLIF($1::int, 0)", "SHOW work_mem",
              "SELECT nothing", "SET app.tenant = 'extended'", "SELECT set_config('app.other', $1, false)")


def _extended(rng, me):
    name = rng.choice(("", "", "s1", "s2"))
    # Of two errors the server tells that of the text, the proxy that of a name in use.
    text = rng.choice([text for text in STATEMENTS if not name or text != "SELECT nothing"])
    values = (str(rng.choice((me, 0, 3))),)
    described = rng.choice((b"", w.describe("S", name), w.describe("P")))
    rows = rng.choice((0, 0, 2))
    run = w.bind(name, "", values) + (described if described[5:6] == b"P" else b"") + w.execute("", rows)
    without_values = w.bind(name) + w.execute()
    parts = rng.choice((
        [w.parse(text, name), described if described[5:6] == b"S" else b"", run],
        [w.parse(text, name), w.bind(name) if "$1" not in text else w.bind(name, "", values), w.execute()],
        [run], [run, run, w.describe("S", name) if name else b""],
        [w.parse(text, name)], [w.close("S", name), w.parse(text, name), run], [w.close("S", name)], [without_values],
        [run, w.parse("SELECT 1/0"), w.bind(), w.execute(), run],
        [w.parse("SELECT 1/0"), w.bind(), w.execute(), w.SYNC, run],
        [w.parse("BEGIN"), w.bind(), w.execute(), w.parse("SET app.tenant = 'rolled back'"), w.bind(), w.execute(),
         w.parse("ROLLBACK"), w.bind(), w.execute(), w.parse(SHOWN), w.bind(), w.execute()],
        # The table changes its shape: who prepares the text anew must see it as it is now.
        [w.close("S", "star"), w.parse("SELECT * FROM iso_shape WHERE session = $1", "star"), w.bind("star", "", values), w.execute()],
        [w.bind(name, "portal", values), w.execute("portal", 1), w.execute("portal", 1), w.close("P", "portal")],
    ))
    data = b"".join(parts)
    return Action(data + w.SYNC, f"extended {data!r}", holds=b"BEGIN" in data, reads=1 + data.count(w.SYNC))


def _copy(rng, me):
    into = w.query(f"COPY iso_rows FROM STDIN")
    rows = w.copy_data(f"{me}\t5\n".encode())
    data = rng.choice((
        w.query(f"COPY (SELECT value FROM iso_rows WHERE session = {me} ORDER BY 1) TO STDOUT"),
        into + rows + w.COPY_DONE, into + rows + w.message("f", b"changed my mind\0"), into + w.copy_data(b"not\ta\trow\n") + w.COPY_DONE,
    ))
    # A COPY that fails to start takes the messages behind it for stray ones, which the server ignores.
    return Action(data, f"copy {data!r}")


PIPELINED = (
    "SELECT $1::int * 2", "SELECT session FROM iso_shape WHERE session < $1::int ORDER BY 1", "SELECT generate_series(1, $1::int)",
    "INSERT INTO iso_rows VALUES (1000 + {me}, $1::int) RETURNING value", "UPDATE iso_rows SET value = value + $1::int WHERE session = 1000 + {me}",
    "WITH d AS (DELETE FROM iso_rows WHERE session = 1000 + {me} AND value > $1::int RETURNING value) SELECT count(*) FROM d",
    "SELECT count(*), $1::int FROM iso_rows WHERE session = 1000 + {me}", "SELECT 10 / NULLIF($1::int, 0)",
    "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT p", "ROLLBACK TO p", "RELEASE p", "SET app.tenant = 'piped'", "SHOW work_mem", "SELECT nothing",
    "DECLARE pc CURSOR FOR SELECT generate_series(1, 5)", "FETCH 2 FROM pc", "CLOSE pc", "SET LOCAL work_mem = '3MB'",
)
QUERIED = (
    "SELECT 1", "SELECT 1/0", "{write}; SELECT 1", "{write}; SELECT 1/0", "{write}; {count}; {write}; {count}", "BEGIN; {write}; COMMIT; SELECT 1/0",
    "{write}; BEGIN; {write}; {count}", "{write}; COMMIT; {write}; SELECT 1/0", "{write}; ROLLBACK; {count}", "COMMIT; {write}", "ROLLBACK; {count}",
    "{write}; SAVEPOINT q; {write}", "BEGIN; SAVEPOINT q; {write}; ROLLBACK TO q; {count}; COMMIT", "{hidden}", "{hidden}; {hidden}; {count}",
    "BEGIN; {hidden}; ROLLBACK; {count}", "{write}; SELECT nothing; {write}", "{count}", "{write}; SET app.tenant = 'queried'; SELECT 1/0",
    "{write}; COPY (SELECT 1) TO STDOUT; {count}", "{write};; {count};", "/* c */ {write} -- d\n; {count}", "{write}; SELECT FROM nowhere; {write}",
    "BEGIN; DECLARE pc CURSOR FOR SELECT generate_series(1, 5); FETCH 2 FROM pc; {write}; FETCH 2 FROM pc; COMMIT",
    "{write}; START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "{write}; COMMIT AND CHAIN", "COMMIT AND CHAIN; {write}",
    "EXPLAIN (COSTS off) SELECT 1; {write}", "SET LOCAL work_mem = '4MB'; {write}; SHOW work_mem", "SELECT $1", "SELECT $1; {write}",
)


def _queried(rng, me):
    texts = {
        "count": f"SELECT count(*), sum(value) FROM iso_rows WHERE session = 1000 + {me}",
        "hidden": f"WITH i AS (INSERT INTO iso_rows VALUES (1000 + {me}, 7) RETURNING value) SELECT sum(value) FROM i",
    }
    write = rng.choice((f"INSERT INTO iso_rows VALUES (1000 + {me}, 1), (1000 + {me}, 2)",
                        f"UPDATE iso_rows SET value = value + 1 WHERE session = 1000 + {me}",
                        f"DELETE FROM iso_rows WHERE session = 1000 + {me} AND value > 3",
                        f"INSERT INTO iso_rows VALUES (1000 + {me}, 4) RETURNING value"))
    return rng.choice(QUERIED).format(write=write, **texts)


def _text(rng, me):
    return _sql(_queried(rng, me), holds=True)


def _pipeline(rng, me):
    """Messages of the extended protocol in any order, with errors, Syncs and simple queries in between."""
    names, portals = ("", "", "a", "b"), ("", "", "x", "y")
    parts = []
    for _ in range(rng.randint(2, 9)):
        name, portal = rng.choice(names), rng.choice(portals)
        text = rng.choice(PIPELINED).format(me=me)
        # A portal that writes and is left with rows to fetch: what it wrote is not seen before the next statement that ends well. Where
        # rows are counted it runs to its end.
        rows = 0 if "RETURNING" in text else 1
        values = (str(rng.choice((0, 1, 3))),) if "$1" in text else ()
        parts += rng.choice((
            [w.close("S", name), w.parse(text, name), w.close("P", portal), w.bind(name, portal, values), w.execute(portal, rng.choice((0, 0, rows)))],
            [w.close("S", name), w.parse(text, name), w.describe("S", name), w.close("P", portal), w.bind(name, portal, values), w.describe("P", portal),
             w.execute(portal, rng.choice((0, 0, rows, 2 * rows)))],
            [w.parse(text), w.bind("", "", values), w.describe("P"), w.execute()],
            [w.parse(text), w.bind("", "", values), w.execute()],
            # Not of portals bound before an error: in a failed block Postgres 15 itself crashes when their statement is gone.
            [w.close("S", name), w.parse(text, name), w.close("P", portal), w.bind(name, portal, values), w.execute(portal, rows), w.FLUSH,
             w.execute(portal, rng.choice((0, rows))), w.describe("P", portal), w.execute(portal)],
            [w.close("P", portal)],
            [w.bind(name, "", values), w.execute()], [w.FLUSH], [w.SYNC], [w.SYNC], [w.query(_queried(rng, me))],
        ))
    data = b"".join(parts) + w.SYNC + 3 * w.query("")
    return Action(data, f"pipeline {parts!r}", holds=True, reads=0)


KINDS = ((30, _setting), (20, _plain), (18, _transaction), (18, _kept), (5, _lock), (5, _shared), (4, _sequence), (22, _extended), (5, _copy), (30, _pipeline), (12, _text))


@dataclass
class Session:
    """One session on both sides."""

    index: int
    proxied: w.Wire
    direct: w.Wire
    status: str = "I"
    may_hold: bool = False
    history: list = field(default_factory=list)
    told: dict = field(default_factory=lambda: {"proxied": [], "direct": []})

    def holds(self):
        """Whether it may need a connection of its own now."""
        return self.may_hold or self.status != "I"


class Difference(AssertionError):
    """The proxy answered otherwise than Postgres."""


class World:
    """Sessions on both sides; `pool` is how many connections the proxy has."""

    def __init__(self, seed, proxied, direct, pool, way="plain"):
        self.seed, self.rng, self.pool = seed, random.Random(seed), pool
        self.refused = _REFUSED if WAYS[way]["tier"] != "int" else None
        self.connect = {"proxied": proxied, "direct": direct}
        self.sessions = [self._session(i) for i in range(SESSIONS)]
        self.actions = 0
        self.interleavings = 0

    def close(self):
        """Ends every session."""
        for session in self.sessions:
            session.proxied.sock.close()
            session.direct.sock.close()

    def _session(self, index):
        return Session(index, self.connect["proxied"](), self.connect["direct"]())

    def run(self, interleavings):
        """Plays that many interleavings; raises `Difference` at the first answer that differs."""
        for _ in range(interleavings):
            for _ in range(STEPS):
                self._step()
            self._compare_notifications()
            self.interleavings += 1
            if self.rng.random() < 0.3:
                self._replace(self.rng.choice(self.sessions))

    def _step(self):
        free = self.pool - 1 - sum(s.holds() for s in self.sessions)
        # Those who hold a connection act more often, or their states would hardly change.
        holders = [s for s in self.sessions if s.holds()]
        chosen = self.rng.sample(self.sessions, self.rng.randint(1, 6))
        chosen += [s for s in holders if s not in chosen and self.rng.random() < 0.5]
        batch = []
        for session in chosen:
            action = self._action(session)
            if action.alone:
                if batch:
                    continue
                batch = [(session, action)]
                break
            if action.holds and not session.holds():
                if free <= 0:
                    continue
                free -= 1
            batch.append((session, action))
        for session, action in batch:
            session.history.append(action.label)
            session.may_hold |= action.holds
            session.proxied.send(action.data)
            session.direct.send(action.data)
        for session, action in batch:
            self._compare(session, action)
            if action.alone and "otify" in action.label.lower():
                self._compare_notifications()
        self.actions += len(batch)

    def _action(self, session):
        kinds = [make for _, make in KINDS]
        while True:
            action = self.rng.choices(kinds, [weight for weight, _ in KINDS])[0](self.rng, session.index)
            full = sum(s.holds() for s in self.sessions) >= self.pool - 1
            is_refused = self.refused and self.refused.search(action.label)
            # The proxy answers it, so that it takes no snapshot: SET TRANSACTION ISOLATION LEVEL is possible behind it.
            is_snapshot_missed = action.label == "DEALLOCATE ALL" and session.status == "T"
            # Told at once, before anybody stops listening, and unlocked before anybody waits.
            is_for_later = any(word in action.label for word in ("NOTIFY channel", "'channel_", "ALTER TABLE")) and session.status != "I"
            if not is_refused and not is_snapshot_missed and not is_for_later and not (action.holds and full and not session.holds()):
                return action

    def _compare(self, session, action):
        sides = {}
        for name, conn in (("direct", session.direct), ("proxied", session.proxied)):
            try:
                messages = [m for _ in range(action.reads) for m in conn.until()] or _up_to_empty(conn)
            except (w.Closed, TimeoutError) as problem:
                self._differ(session, f"{name}: {problem!r}; direct: {sides.get('direct')}")
            session.told[name] += [_notification(m) for m in messages if m.kind == "A"]
            sides[name] = [_comparable(m) for m in messages if m.kind not in "AS"]
        if not _are_alike(**sides):
            self._differ(session, _first_difference(sides["direct"], sides["proxied"]))
        if session.direct.parameters != session.proxied.parameters:
            both = session.direct.parameters.items() ^ session.proxied.parameters.items()
            self._differ(session, f"ParameterStatus: {sorted(both)}")
        session.status = messages[-1].body.decode()
        if session.may_hold and session.status == "I":
            answers = session.direct.simple(HELD)
            (answer,) = [m for m in answers if m.kind in "DE"]
            session.may_hold = answer.kind == "E" or answer.row() != ["0"]
            # As on the other side: a simple query ends the unnamed statement.
            for name, messages in (("direct", answers), ("proxied", session.proxied.simple(""))):
                session.told[name] += [_notification(m) for m in messages if m.kind == "A"]

    def _compare_notifications(self):
        # In a block they may come at its end, or with whatever ends it in the middle of a pipeline.
        for session in (s for s in self.sessions if s.status == "I"):
            told = session.told

            def same():
                for name in told:
                    conn = getattr(session, name)
                    # Whatever was on its way arrives before this answer or with the next.
                    told[name] += [_notification(m) for m in conn.simple("") if m.kind == "A"]
                return sorted(told["direct"]) == sorted(told["proxied"])

            try:
                wait_until(same, "notifications", 5)
            except AssertionError:
                self._differ(session, f"notifications {told}")
            told["direct"], told["proxied"] = [], []

    def _replace(self, session):
        """The session ends, politely or not, whatever it holds; another takes its place."""
        polite = self.rng.random() < 0.5
        # Its advisory locks must be gone on both sides before anybody asks for them.
        for conn in (session.proxied, session.direct):
            conn.simple("ROLLBACK")
            conn.simple("SELECT pg_advisory_unlock_all()")
            if polite:
                conn.send(w.TERMINATE)
            conn.sock.close()
        self.sessions[session.index] = self._session(session.index)

    def _differ(self, session, what):
        history = "\n    ".join(session.history[-25:])
        raise Difference(f"seed {self.seed}, interleaving {self.interleavings}, session {session.index}: {what}\n  it did:\n    {history}")


def _up_to_empty(conn):
    """All answers up to those of three empty queries behind a Sync, whatever was left out because of an error."""
    messages = []
    while "".join(m.kind for m in messages[-6:]) != "IZIZIZ":
        messages += conn.until()
    return messages


def _first_difference(direct, proxied):
    """Where two answers part."""
    at = next((i for i, (a, b) in enumerate(zip(direct, proxied)) if a != b and not _is_alike(a, b)), min(len(direct), len(proxied)))
    return f"answers differ at message {at}\n  direct:  {direct[at:at + 3]}\n  proxied: {proxied[at:at + 3]}"


# Errors that a statement may have both, so that either may come first: that of a failed block, and that of parameters or of a
# portal that is gone; that of a transaction that is READ ONLY, and that of the statement's plan.
_EITHER = {("25P02", "34000"), ("55000", "34000"), ("25006", "42P07")}


def _are_alike(direct, proxied):
    return len(direct) == len(proxied) and all(a == b or _is_alike(a, b) for a, b in zip(direct, proxied))


def _is_alike(direct, proxied):
    if direct[0] == proxied[0] == "E":
        codes = (direct[1]["C"], proxied[1]["C"])
        return codes[1] == "25P02" or codes in _EITHER
    # A write whose rows are limited is run to its end, however few of them were asked for.
    return direct == ("s", b"") and proxied in (("C", b"INSERT 0 1\0"), ("C", b"SELECT 1\0"))


def _notification(message):
    """Channel and payload: the process differs."""
    return message.body[4:]


def _comparable(message):
    """What must be the same: objects have other OIDs in another database."""
    if message.kind == "T":
        return ("T", _columns(message.body))
    if message.kind in "EN":
        # A line number of the server's own source says nothing to a client.
        return (message.kind, {k: v for k, v in message.fields().items() if k not in "LFR"})
    return (message.kind, message.body)


def _columns(body):
    result, at = [], 2
    for _ in range(int.from_bytes(body[:2], "big")):
        end = body.index(b"\0", at)
        table, rest = body[end + 1:end + 5], body[end + 5:end + 19]
        result.append((body[at:end], table != bytes(4), rest))
        at = end + 19
    return result
