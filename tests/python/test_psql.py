"""psql, as an engineer uses it."""

import re
import subprocess

import pexpect
import pytest

from support.cluster import program

NO_WHERE = "DELETE without an effective WHERE is not allowed on prod"
HINT = "Restrict the rows, for example WHERE id = ..., or try it on app:stg first."


def psql(proxy, *args, tier="prod", user="alice", stdin=None, reason="TEST-1", env=None):
    """Runs psql without the user's start-up file."""
    return subprocess.run([program("psql"), "-X", *args], input=stdin, capture_output=True, text=True, timeout=60,
                          env=proxy.env(user, tier, reason=reason) | {"PAGER": "cat", "LC_ALL": "C.UTF-8"} | (env or {}))


def output(proxy, *args, **kwargs):
    """stdout of a psql that must succeed."""
    result = psql(proxy, *args, **kwargs)
    assert result.returncode == 0 and "ERROR" not in result.stderr, result.stderr
    return result.stdout


def test_describe_commands(proxy):
    for command, expected in [
        (r"\d", "email_drafts"),
        (r"\d email_drafts", '"email_drafts_pkey" PRIMARY KEY'),
        (r"\d+ projects", "customer_email"),
        (r"\dt+", "work_items"),
        (r"\df", "wipe_drafts"),
        (r"\df+ touch", "UPDATE projects"),
        (r"\sf touch", "CREATE OR REPLACE FUNCTION public.touch"),
        (r"\di", "projects_pkey"),
        (r"\ds", "projects_id_seq"),
        (r"\dm", "mv"),
        (r"\dn", "public"),
        (r"\du", "app"),
        (r"\dx", "plpgsql"),
        (r"\dT", "List of data types"),
        (r"\dp projects", "Access privileges"),
        (r"\l", "app_prod"),
        (r"\conninfo", "You are connected"),
    ]:
        assert expected in output(proxy, "-c", command), command


def test_expanded_output(proxy):
    text = output(proxy, stdin="\\x\nSELECT 1 AS one, 'two' AS two;\n")
    assert "-[ RECORD 1 ]" in text and re.search(r"two \| two", text)


def test_queries_from_option_file_and_stdin(proxy, tmp_path):
    assert output(proxy, "-At", "-c", "SELECT 1", "-c", "SELECT 2") == "1\n2\n"
    script = tmp_path / "script.sql"
    script.write_text("SELECT count(*) FROM projects;\n\\set name 'x y'\nSELECT :'name';\nSELECT 1 AS a, 2 AS b \\gset\n\\echo :a-:b\n")
    assert output(proxy, "-At", "-f", str(script)) == "50\nx y\n1-2\n"
    assert output(proxy, "-At", stdin="SELECT 'from stdin';") == "from stdin\n"
    assert output(proxy, "-At", "-1", "-c", "SELECT 'in a transaction'") == "in a transaction\n"


def test_gexec_gdesc_and_bind(proxy):
    assert output(proxy, "-At", stdin="SELECT 'SELECT 40 + 2' \\gexec\n") == "42\n"
    assert "integer" in output(proxy, stdin="SELECT 1 AS a \\gdesc\n")


def test_copy_out_to_a_file(proxy, tmp_path):
    target = tmp_path / "projects.csv"
    assert "COPY 50" in output(proxy, "-c", f"\\copy projects TO '{target}' CSV HEADER")
    lines = target.read_text().splitlines()
    assert len(lines) == 51 and lines[0].startswith("id,customer_email")


def test_copy_in_on_int(proxy, cluster, tmp_path):
    source = tmp_path / "threads.csv"
    source.write_text("1,psql-in,a\n2,psql-in,b\n3,psql-in,c\n")
    text = output(proxy, "-c", f"\\copy email_threads (project_id, gmail_thread_id, subject) FROM '{source}' CSV", tier="int")
    assert "COPY 3" in text
    with cluster.connect("app_int") as check:
        assert check.execute("SELECT count(*) FROM email_threads WHERE gmail_thread_id = 'psql-in'").fetchone() == (3,)


def test_fetch_count_uses_a_cursor(proxy):
    text = output(proxy, "-At", "-v", "FETCH_COUNT=100", "-c", "SELECT id FROM email_drafts WHERE id <= 1000 ORDER BY id")
    assert text.splitlines() == [str(i) for i in range(1, 1001)]


def test_on_error_stop(proxy):
    script = "SELECT 1/0;\nSELECT 'reached';\n"
    kept_going = psql(proxy, "-At", stdin=script)
    assert "division by zero" in kept_going.stderr and "reached" in kept_going.stdout
    stopped = psql(proxy, "-At", "-v", "ON_ERROR_STOP=1", stdin=script)
    assert stopped.returncode == 3 and "reached" not in stopped.stdout


@pytest.mark.needs_proxy
@pytest.mark.parametrize("statement, detail", [
    ("DELETE FROM email_drafts WHERE 1=1", r'rule unbounded-write: the predicate "1=1" is always true for email_drafts'),
    ("DELETE FROM email_drafts", r"rule unbounded-write: .*email_drafts.*"),
], ids=["tautology", "no where"])
def test_refused_delete_verbatim(proxy, cluster, statement, detail):
    """DESIGN's example word for word, and the session goes on."""
    result = psql(proxy, "-At", stdin=f"{statement};\nSELECT 'the session goes on';\nSELECT count(*) > 0 FROM email_drafts;\n")
    lines = [re.sub(r"^psql:<stdin>:\d+: ", "", line) for line in result.stderr.splitlines()]
    at = lines.index(f"ERROR:  {NO_WHERE}")
    assert re.fullmatch(f"DETAIL:  {detail}", lines[at + 1]), lines[at + 1]
    assert lines[at + 2] == f"HINT:  {HINT}"
    assert result.stdout == "the session goes on\nt\n"
    assert result.returncode == 0


@pytest.mark.needs_proxy
def test_refused_delete_with_on_error_stop(proxy):
    result = psql(proxy, "-v", "ON_ERROR_STOP=1", "-c", "DELETE FROM email_drafts")
    assert result.returncode == 1 and NO_WHERE in result.stderr


@pytest.mark.needs_proxy
def test_refused_delete_shows_its_sqlstate(proxy):
    result = psql(proxy, "-v", "VERBOSITY=sqlstate", "-c", "DELETE FROM email_drafts")
    assert result.stderr.splitlines()[-1].endswith("ERROR:  42501")


@pytest.mark.needs_proxy
def test_banner(proxy):
    """Tier in its colour word, read-only, and the time left."""
    stderr = psql(proxy, "-c", "SELECT 1").stderr
    notice = next(line for line in stderr.splitlines() if line.startswith("NOTICE:"))
    for word in ("prod", "red", "read-only", "30"):
        assert word in notice.lower(), notice
    stg = psql(proxy, "-c", "SELECT 1", tier="stg").stderr
    assert "NOTICE" in stg and "yellow" in stg and "read-only" not in stg
    assert psql(proxy, "-c", "SELECT 1", tier="int").stderr == ""
    assert psql(proxy, "-c", "SELECT 1", user="app").stderr == "", "an application gets no banner"


@pytest.mark.needs_proxy
def test_missing_reason(proxy):
    """Reads are refused too, with a HINT how to give one; SET gives it."""
    script = "SELECT count(*) FROM projects;\nSET pgbelay.reason = 'INC-7';\nSHOW pgbelay.reason;\nSELECT count(*) FROM projects;\n"
    result = psql(proxy, "-At", reason=None, stdin=script)
    assert "reason" in result.stderr and re.search(r"HINT:.*pgbelay\.reason", result.stderr)
    assert "DETAIL:  rule " in result.stderr
    assert result.stdout == "SET\nINC-7\n50\n"


def test_reason_through_pgoptions(proxy):
    result = psql(proxy, "-At", "-c", "SHOW pgbelay.reason", reason="INC-42")
    assert result.stdout == "INC-42\n", result.stderr


@pytest.mark.needs_proxy
def test_own_settings_are_shown(proxy):
    assert output(proxy, "-At", "-c", "SHOW pgbelay.tier").strip() == "prod"
    limits = output(proxy, "-c", "SHOW pgbelay.limits")
    assert "statement_timeout" in limits and "max_rows_returned" in limits
    assert output(proxy, "-c", "SHOW pgbelay.session").strip()


@pytest.mark.needs_proxy
def test_settings_of_the_proxy_never_reach_the_server(proxy, cluster):
    output(proxy, "-c", "SET pgbelay.reason = 'SECRET-REASON-77'", "-c", "SELECT 1")
    assert not cluster.logged("SECRET-REASON-77")


@pytest.mark.needs_proxy
def test_unknown_database_and_tier_are_explained(proxy):
    for dbname, expected in (("nosuch", 'database "nosuch"'), ("app:nosuch", "prod")):
        result = psql(proxy, "-c", "SELECT 1", env={"PGDATABASE": dbname})
        assert result.returncode == 2
        assert "FATAL" in result.stderr and expected in result.stderr, result.stderr


# --- interactive ---


@pytest.fixture
def terminal(proxy, tmp_path):
    """psql under a pseudo-terminal."""
    env = proxy.env("alice", "prod") | {"TERM": "xterm", "PAGER": "cat", "HOME": str(tmp_path), "PSQL_HISTORY": "/dev/null"}
    child = pexpect.spawn(program("psql"), ["-X", "-v", "PROMPT1=ready> ", "-v", "PROMPT2=more> "],
                          env=env, encoding="utf-8", timeout=15, dimensions=(50, 200))
    # Otherwise readline wraps pastes in control sequences.
    child.expect("ready> ")
    child.sendline("\\pset pager off")
    child.expect("ready> ")
    yield child
    child.close(force=True)


def test_tab_completion(terminal):
    terminal.send("SELECT * FROM email_dr\t")
    # A bell where the name goes on in more than one way.
    terminal.expect("email_dr\x07?afts")
    terminal.sendline(" WHERE id = -1;")
    terminal.expect(r"\(0 rows\)")
    terminal.expect("ready> ")
    terminal.send("SELECT customer_email FROM projects WHERE customer_em\t")
    terminal.expect("WHERE customer_em\x07?ail")
    terminal.sendline(" IS NULL;")
    terminal.expect(r"\(\d+ rows?\)")


def test_tab_completion_in_a_transaction(terminal):
    """psql's own queries do not disturb the transaction block."""
    terminal.sendline("BEGIN;")
    terminal.expect("BEGIN.*ready> ")
    terminal.send("SELECT * FROM workflow_inst\t")
    terminal.expect("workflow_inst\x07?ances")
    terminal.sendline(" LIMIT 0;")
    terminal.expect(r"\(0 rows\)")
    terminal.sendline("COMMIT;")
    terminal.expect("\rCOMMIT\r\n|\nCOMMIT\r\n")


@pytest.mark.parametrize("times", [1, 3])
def test_control_c_cancels(terminal, times):
    for _ in range(times):
        terminal.sendline("SELECT count(*) FROM generate_series(1, 1000000000);")
        # The statement has been sent when psql no longer shows its prompt; a cancel that comes too early has no effect.
        while terminal.expect(["canceling statement due to user request", pexpect.TIMEOUT], timeout=0.3):
            terminal.sendintr()
        terminal.expect("ready> ")
    terminal.sendline("SELECT 'still ' || 'here';")
    terminal.expect("still here")


def test_listen_and_notify(proxy, terminal):
    """On prod a person may not NOTIFY, but may LISTEN."""
    terminal.sendline("LISTEN psql_channel;")
    terminal.expect("LISTEN.*ready> ")
    with proxy.connect("app", "prod") as conn:
        conn.execute("NOTIFY psql_channel, 'hello psql'")
    terminal.sendline("SELECT 1;")
    terminal.expect('Asynchronous notification "psql_channel" with payload "hello psql" received')
