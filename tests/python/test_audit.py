"""The audit trail: what is in it, what is not, and that it can be trusted."""

import concurrent.futures
import datetime
import hashlib
import itertools
import json
import re
import threading

import psycopg
import pytest

from support.ports import wait_until
from support.proxy import USERS, certificates, command

pytestmark = pytest.mark.needs_proxy

EVENTS = {"session.start", "session.end", "auth.fail", "statement", "result", "deny", "confirm", "limit", "config.reload", "admin"}


@pytest.fixture(scope="module")
def audited(make_module_proxy):
    """A proxy whose trail is this module's alone."""
    return make_module_proxy({"tiers": {"prod": {"max_rows_written": 5}}})


def is_verified(proxy, *files):
    result = proxy.verify(*files)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# --- what is recorded ---


def test_session(audited):
    with audited.connect("alice", "prod", application_name="audit-session") as conn:
        conn.execute("SELECT 1")
    start = audited.wait_record("session.start", application_name="audit-session")
    assert (start["user"], start["role"], start["database"], start["tier"]) == ("alice", "engineer", "app", "prod")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", start["client"])
    end = audited.wait_record("session.end", session=start["session"])
    assert end["seq"] > start["seq"]


def test_read_of_a_person(audited):
    with audited.connect("alice", "prod", application_name="audit-read", reason="INC-4711") as conn:
        conn.execute("SELECT name FROM projects WHERE id <= 3")
    record = audited.wait_record("result", lambda r: "FROM projects" in r.get("sql", ""), application_name="audit-read")
    assert record["reason"] == "INC-4711"
    assert (record["class"], record["kind"], record["verdict"]) == ("READ", "SELECT", "read_only")
    assert record["tables"] == ["projects"] and record["rows"] == 3
    assert record["duration_us"] > 0 and record["bytes"] > 0
    assert re.fullmatch(r"[0-9a-f]{16}", record["fingerprint"])
    assert "sqlstate" not in record


def test_guarded_write_has_intent_and_result(audited):
    with audited.connect("app", "prod", application_name="audit-write") as conn:
        conn.execute("UPDATE projects SET name = name WHERE id = 2")
    result = audited.wait_record("result", application_name="audit-write", kind="UPDATE")
    intent = audited.wait_record("statement", application_name="audit-write", kind="UPDATE")
    assert intent["seq"] < result["seq"]
    assert (intent["session"], intent["statement"]) == (result["session"], result["statement"])
    assert intent["verdict"] == "guarded" and result["rows"] == 1
    assert intent["tables"] == ["projects"]


def test_intent_is_on_disk_before_the_server_runs_the_write(audited, cluster):
    """While the statement waits for a lock, its intent can be read already."""
    with cluster.connect("app_prod", autocommit=False) as holder, audited.connect("app", "prod", application_name="audit-intent") as conn, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder.execute("UPDATE projects SET name = name WHERE id = 3")
        running = pool.submit(conn.execute, "UPDATE projects SET name = name WHERE id = 3")
        audited.wait_record("statement", application_name="audit-intent")
        assert not running.done() and not audited.records("result", application_name="audit-intent", kind="UPDATE")
        holder.rollback()
        running.result(10)
    audited.wait_record("result", application_name="audit-intent", kind="UPDATE")


def test_error_of_the_server(audited):
    with audited.connect("app", "prod", application_name="audit-error") as conn, pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("INSERT INTO workflow_instances (project_id) VALUES (-1)")
    assert audited.wait_record("result", application_name="audit-error", kind="INSERT")["sqlstate"] == "23503"


def test_refusal(audited):
    with audited.connect("app", "prod", application_name="audit-deny") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("DELETE FROM email_drafts WHERE 1=1")
    record = audited.wait_record("deny", application_name="audit-deny")
    assert (record["rule"], record["verdict"], record["sqlstate"]) == ("unbounded-write", "deny", "42501")
    assert record["sql"] == "DELETE FROM email_drafts WHERE 1=1"
    assert not audited.records("result", application_name="audit-deny")


def test_extended_protocol_and_pipelines(audited):
    with audited.connect("app", "prod", application_name="audit-pipeline") as conn, conn.pipeline():
        for i in range(5):
            conn.execute("UPDATE projects SET name = name WHERE id = %s", [i + 1])
    wait_until(lambda: len(audited.records("result", application_name="audit-pipeline", kind="UPDATE")) == 5, "five results")
    numbers = [r["statement"] for r in audited.records("result", application_name="audit-pipeline", kind="UPDATE")]
    assert numbers == sorted(set(numbers))


def test_copy_is_recorded(audited):
    with audited.connect("app", "int", application_name="audit-copy") as conn:
        with conn.cursor().copy("COPY email_threads (subject) FROM STDIN") as copy:
            copy.write("a\nb\nc\n")
    record = audited.wait_record("result", lambda r: r.get("kind", "").startswith("COPY"), application_name="audit-copy")
    assert record["rows"] == 3 and record["class"] == "WRITE"


def test_traceparent_of_a_comment(audited):
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with audited.connect("alice", "prod", application_name="audit-trace") as conn:
        conn.execute(f"SELECT count(*) FROM projects /*traceparent='{traceparent}'*/")
    record = audited.wait_record("result", lambda r: "projects" in r.get("sql", ""), application_name="audit-trace")
    assert record["traceparent"] == traceparent


def test_every_kind_of_event(audited):
    with pytest.raises(psycopg.OperationalError):
        audited.connect("alice", "int", password="wrong")
    with audited.connect("app", "prod") as conn, pytest.raises(psycopg.errors.ProgramLimitExceeded):
        conn.execute("UPDATE email_drafts SET status = 'x' WHERE id BETWEEN 1 AND 6", prepare=False)
    with audited.connect("alice", "stg") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("TRUNCATE email_drafts")
    with audited.connect("app", "prod") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("DELETE FROM email_drafts")
    with audited.connect("app", "prod") as conn:
        conn.execute("UPDATE projects SET name = name WHERE id = 1")
    audited.reload()
    wait_until(lambda: EVENTS <= {r["event"] for r in audited.records()}, "every kind of event is there")
    assert {r["event"] for r in audited.records()} <= EVENTS


def test_time_is_rfc_3339_and_does_not_go_back(audited):
    times = [r["time"] for r in audited.records()]
    parsed = [datetime.datetime.strptime(t, "%Y-%m-%dT%H:%M:%S.%fZ") for t in times]
    assert all(re.search(r"\.\d{6}Z$", t) for t in times)
    assert all((b - a).total_seconds() > -1 for a, b in itertools.pairwise(parsed))


# --- what is not recorded ---


def test_applications_reads_are_not_recorded(audited):
    with audited.connect("app", "prod", application_name="audit-quiet") as conn:
        conn.execute("SELECT 'a read that is not recorded' FROM projects")
        conn.execute("UPDATE projects SET name = name WHERE id = 1")
    audited.wait_record("session.end", application_name="audit-quiet")
    assert [r["kind"] for r in audited.records("result", application_name="audit-quiet")] == ["UPDATE"]


def test_all_of_an_applications_statements_where_asked(make_proxy):
    proxy = make_proxy({"roles": {"service": {"prod": {"audit": "all"}}}})
    with proxy.connect("app", "prod") as conn:
        conn.execute("SELECT 'recorded' FROM projects WHERE id = 1")
    assert proxy.wait_record("result", kind="SELECT")["tables"] == ["projects"]


SECRETS = {
    "ALTER ROLE app PASSWORD 'secret-in-alter'": "secret-in-alter",
    "CREATE ROLE someone LOGIN PASSWORD 'secret-in-create'": "secret-in-create",
    "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'x', password 'secret-in-mapping')": "secret-in-mapping",
    "CREATE SUBSCRIPTION s CONNECTION 'host=x password=secret-in-subscription' PUBLICATION p": "secret-in-subscription",
    "SELECT * FROM dblink('host=x password=secret-in-dblink', 'SELECT 1') AS t(a int)": "secret-in-dblink",
    "ALTER ROLE app PASSWORD 'secret-unclosed": "secret-unclosed",
    "ALTER ROLE app ENCRYPTED PASSWORD 'secret-in-encrypted' VALID UNTIL 'infinity'; SELECT 1": "secret-in-encrypted",
}


@pytest.mark.parametrize("tier", ["int", "prod"])
def test_secrets_are_redacted(audited, tier):
    with audited.connect("alice", tier, application_name=f"audit-secret-{tier}") as conn:
        for statement in SECRETS:
            try:
                # Rolled back: the proxy itself logs in with this role's password.
                conn.execute("BEGIN")
                conn.execute(statement)
            except psycopg.Error:
                pass
            finally:
                conn.execute("ROLLBACK")
    audited.wait_record("session.end", application_name=f"audit-secret-{tier}")
    text = audited.audit_file.read_text() + audited.stderr()
    for secret in SECRETS.values():
        assert secret not in text, secret
    assert any("ALTER ROLE" in r.get("sql", "") for r in audited.records(application_name=f"audit-secret-{tier}"))


def test_no_password_or_verifier_anywhere(audited):
    text = audited.audit_file.read_text() + audited.stderr() + audited.http("/metrics")[1] + audited.http("/readyz")[1]
    for _, password in USERS.values():
        assert password not in text
    assert audited.environment["TEST_UPSTREAM_PASSWORD"] not in text
    assert "SCRAM-SHA-256$" not in text


def test_parameters_only_where_asked(make_proxy):
    proxy = make_proxy({"tiers": {"prod": {"audit_parameters": True}}})
    for tier in ("prod", "stg"):
        with proxy.connect("app", tier) as conn:
            # The database is shared with other tests, so nothing is kept.
            with conn.transaction(force_rollback=True):
                conn.execute("UPDATE projects SET name = %t WHERE id = %t", [f"value-on-{tier}", 1])
    record = proxy.wait_record("result", tier="prod", kind="UPDATE")
    assert record.get("parameters") or proxy.wait_record("statement", tier="prod", kind="UPDATE")["parameters"]
    proxy.wait_record("result", tier="stg", kind="UPDATE")
    text = proxy.audit_file.read_text()
    assert "value-on-prod" in text and "value-on-stg" not in text


def test_control_characters_cannot_forge_a_line(audited):
    before = len(audited.audit_file.read_bytes().splitlines())
    forged = '\\n{"seq":1,"event":"admin"}\\n'
    with audited.connect("alice", "int", application_name="x\ty", reason=None) as conn:
        conn.execute(f"SET pgbelay.reason = E'{forged}'")
        conn.execute('SELECT \'line one\n{"seq":2,"event":"admin"}\n\'')
    wait_until(lambda: len(audited.audit_file.read_bytes().splitlines()) > before + 2, "the session is recorded")
    sequence = [r["seq"] for r in audited.records()]
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
    is_verified(audited)


# --- the chain ---


def test_chain_can_be_checked_without_pgbelay(audited):
    """`prev` is the SHA-256 of the line before, `hash` that of the line up to itself; newlines do not count."""
    lines = audited.audit_file.read_bytes().split(b"\n")[:-1]
    assert len(lines) > 1
    expected = "0" * 64
    for line in lines:
        record = json.loads(line)
        assert record["prev"] == expected
        content = line.rsplit(b',"hash":"', 1)[0]
        assert record["hash"] == hashlib.sha256(content).hexdigest()
        expected = hashlib.sha256(line).hexdigest()


def test_verify_accepts_the_trail(audited):
    assert re.search(r"\d+ records", is_verified(audited))


@pytest.fixture(scope="module")
def trail(audited, tmp_path_factory):
    """A whole trail as lines, and a function that verifies changed ones."""
    with audited.connect("app", "prod") as conn:
        for i in range(20):
            conn.execute("UPDATE projects SET name = name WHERE id = %s", [i + 1])
    wait_until(lambda: len(audited.records()) > 40, "enough records")
    lines = audited.audit_file.read_bytes().splitlines(keepends=True)
    folder = tmp_path_factory.mktemp("tampered")

    def verify(changed):
        file = folder / "audit.jsonl"
        file.write_bytes(b"".join(changed))
        return command("audit", "verify", file)

    complete = lines if lines[-1].endswith(b"\n") else lines[:-1]
    assert verify(complete).returncode == 0
    return complete, verify


def _one_byte(lines):
    at = len(lines) // 2
    return lines[:at] + [lines[at].replace(b"projects", b"projectz", 1).replace(b'"user":"a', b'"user":"b', 1)] + lines[at + 1:]


TAMPERINGS = {
    "one byte": _one_byte,
    "a bit of the first line": lambda ls: [bytes([ls[0][0]]) + ls[0][1:20] + bytes([ls[0][20] ^ 1]) + ls[0][21:]] + ls[1:],
    "a bit of the last line": lambda ls: ls[:-1] + [ls[-1][:30] + bytes([ls[-1][30] ^ 1]) + ls[-1][31:]],
    "a line removed": lambda ls: ls[:10] + ls[11:],
    "the first line removed": lambda ls: ls[1:],
    "two lines swapped": lambda ls: ls[:10] + [ls[11], ls[10]] + ls[12:],
    "a line doubled": lambda ls: ls[:10] + [ls[10]] + ls[10:],
    "a line cut": lambda ls: ls[:10] + [ls[10][:50] + b"\n"] + ls[11:],
    "a line put in": lambda ls: ls[:10] + [b'{"seq":11,"event":"admin"}\n'] + ls[10:],
    "an empty line put in": lambda ls: ls[:10] + [b"\n"] + ls[10:],
    "the end of the last line cut": lambda ls: ls[:-1] + [ls[-1][:-10]],
    "white space put in": lambda ls: ls[:10] + [ls[10].replace(b":", b": ", 1)] + ls[11:],
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(trail, name):
    lines, verify = trail
    changed = TAMPERINGS[name](lines)
    assert changed != lines
    result = verify(changed)
    assert result.returncode == 1, result.stdout + result.stderr
    assert (result.stdout + result.stderr).strip()


def test_verify_of_nothing(tmp_path):
    assert command("audit", "verify", tmp_path / "nosuch.jsonl").returncode == 2
    assert command("audit", "verify").returncode == 2


def test_cut_tail_is_found_with_a_checkpoint(make_proxy, tmp_path):
    keys = certificates(tmp_path / "keys", "--audit-key")
    proxy = make_proxy({"audit": {"signing_key": str(keys / "audit.key")}})
    with proxy.connect("app", "prod") as conn:
        for i in range(20):
            conn.execute("UPDATE projects SET name = name WHERE id = %s", [i + 1])
    assert proxy.stop() == 0
    public = ("--public-key", keys / "audit.pub")
    whole = command("audit", "verify", *public, proxy.audit_file)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    lines = proxy.audit_file.read_bytes().splitlines(keepends=True)
    proxy.audit_file.write_bytes(b"".join(lines[:-3]))
    assert command("audit", "verify", *public, proxy.audit_file).returncode == 1


def test_tail(audited):
    shown = command("audit", "tail", "-n", "5", "--json", audited.audit_file)
    assert shown.returncode == 0
    assert [json.loads(line)["seq"] for line in shown.stdout.splitlines()] == [r["seq"] for r in audited.records()[-5:]]
    assert len(command("audit", "tail", "-n", "3", audited.audit_file).stdout.splitlines()) == 3


# --- restarts, rotation, crashes ---


def test_chain_goes_on_across_restarts(make_proxy):
    proxy = make_proxy()
    for turn in range(3):
        with proxy.connect("alice", "int", application_name=f"turn {turn}") as conn:
            conn.execute("SELECT 1")
        assert proxy.stop() == 0
        proxy.start()
    sequence = [r["seq"] for r in proxy.records()]
    assert sequence == list(range(1, len(sequence) + 1))
    assert {r["application_name"] for r in proxy.records("session.start")} == {"turn 0", "turn 1", "turn 2"}
    is_verified(proxy)


def test_rotation_keeps_the_chain(make_proxy):
    proxy = make_proxy({"audit": {"rotate_size": "4KiB"}})
    with proxy.connect("app", "prod") as conn:
        for i in range(60):
            conn.execute("UPDATE projects SET name = name WHERE id = %s", [i % 50 + 1])
    assert proxy.stop() == 0
    files = sorted(proxy.base.glob("audit*.jsonl"))
    assert len(files) > 3
    is_verified(proxy, *files)
    assert proxy.verify(*files[1:]).returncode == 1, "the oldest file is missing"
    assert proxy.verify(*files[:1], *files[2:]).returncode == 1, "a file in the middle is missing"


def test_kill_under_load(make_proxy, cluster):
    """After kill -9 the trail verifies, and no write that the database shows lacks its record."""
    name = cluster.fresh_database("killed")
    with cluster.connect(name) as conn:
        conn.execute("CREATE TABLE written (id text PRIMARY KEY)")
    proxy = make_proxy(None, {("app", "prod"): name})
    for turn in range(3):
        stop = threading.Event()
        done = [0] * 8

        def work(i, turn=turn, stop=stop, done=done):
            try:
                with proxy.connect("app", "prod") as conn:
                    for k in itertools.count():
                        if stop.is_set():
                            return
                        conn.execute(f"INSERT INTO written VALUES ('w-{turn}-{i}-{k}')")
                        done[i] += 1
            except psycopg.Error:
                assert stop.wait(10), "an error before the kill"

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = [pool.submit(work, i) for i in range(8)]
            wait_until(lambda done=done: min(done) > 10, "all clients write", 20)
            proxy.kill()
            stop.set()
            for future in running:
                future.result(20)
        proxy.start()
    is_verified(proxy)
    recorded = {m for r in proxy.records("statement") for m in re.findall(r"w-\d+-\d+-\d+", r["sql"])}
    with cluster.connect(name) as conn:
        written = {row[0] for row in conn.execute("SELECT id FROM written")}
    assert len(written) > 240
    assert written - recorded == set()
    cluster.drop_database(name)


def test_torn_last_line_is_mended(make_proxy):
    proxy = make_proxy()
    proxy.connect("alice", "int").close()
    proxy.wait_record("session.end")
    proxy.kill()
    with open(proxy.audit_file, "ab") as file:
        file.write(b'{"seq":999,"prev":"00')
    proxy.start()
    proxy.connect("alice", "int").close()
    proxy.wait_record("session.start", lambda r: r["seq"] > 3)
    wait_until(lambda: proxy.verify().returncode == 0, "the trail verifies")


def test_unwritable_trail_stops_guarded_statements(make_proxy, cluster):
    """A full disk: prod denies with 58030, int goes on, and all is well when there is room again."""
    proxy = make_proxy(start=False)
    # The trail on a device that is always full.
    proxy.audit_file.symlink_to("/dev/full")
    try:
        proxy.start(wait_for="/healthz")
    except AssertionError:
        # Refusing to start without a trail is fail-closed too.
        assert "audit" in proxy.stderr()
        proxy.process = None
        return
    with pytest.raises(psycopg.Error) as refusal, proxy.connect("app", "prod") as conn:
        conn.execute("UPDATE projects SET status = 'unrecorded' WHERE id = 1")
    assert refusal.value.sqlstate in ("58030", None)
    assert proxy.http("/readyz")[0] == 503
    with cluster.connect("app_prod") as check:
        assert check.execute("SELECT count(*) FROM projects WHERE status = 'unrecorded'").fetchone() == (0,)


def test_two_processes_do_not_share_a_trail(make_proxy):
    """A second writer would break the chain: it does not start."""
    proxy = make_proxy()
    second = make_proxy({"audit": {"path": str(proxy.audit_file)}}, start=False)
    with pytest.raises(AssertionError, match="ended with"):
        second.start()
    proxy.connect("alice", "int").close()
    is_verified(proxy)


def test_many_clients_share_a_sync(make_proxy):
    """Group commit: the guarded writes of many clients do not wait one by one."""
    proxy = make_proxy()

    def work(i):
        with proxy.connect("app", "prod") as conn:
            for _ in range(20):
                conn.execute("UPDATE projects SET name = name WHERE id = %s", [i + 1])

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))
    assert len(proxy.records("statement", kind="UPDATE")) == 200
    is_verified(proxy)
