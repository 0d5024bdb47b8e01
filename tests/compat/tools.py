"""What psql, pg_dump, SQLAlchemy, Django and Alembic send to look at a schema, as a read-only person on prod: nothing refused, same output.

scripts/compat tools [--save] [PROGRAM…]: each program runs directly, while the server logs its statements, and again through the proxy. Each
statement is judged by `pgbelay explain`, with a reason and without. --save writes the statements to tests/corpus/tools, one of each form.
"""

import argparse
import concurrent.futures
import difflib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "programs"))

import psql_commands  # noqa: E402
from support.cluster import Cluster, program  # noqa: E402
from support.ports import wait_until  # noqa: E402
from support.proxy import Proxy, command  # noqa: E402

PROGRAMS = HERE / "programs"
SAVED = HERE.parent / "corpus" / "tools"
DATABASE, EMPTY, OWNER, PASSWORD = "tools", "tools_empty", "tools", "tools-clear-30cd"

# Runs that do more than look, and why. They must be refused, with this rule.
NOT_A_READ = {
    "psql \\password": ("changes a role's password", "read-only-tier"),
    "psql \\lo_import": ("stores a large object", "read-only-tier"),
    "psql \\lo_unlink": ("removes a large object", "read-only-tier"),
    "alembic upgrade of a fresh database": ("creates its version table", "read-only-tier"),
    "django migrate of a fresh database": ("creates its tables", "read-only-tier"),
}
# Commands whose output is the connection's own: what psql connected to, the settings that the proxy keeps, and names that begin with the
# database's (psql compares them with the name that it connected to, which is the proxy's).
OWN_OUTPUT = re.compile(r"(psql )?\\(conninfo|dconfig|d\S* tools\.)")
# What the proxy tells a person at connect.
BANNER = re.compile(r"^NOTICE:  prod \(red\).*\nDETAIL:.*\nHINT:.*\n", re.M)


@dataclass
class Run:
    """One call of a program, which must give the same directly and through the proxy."""

    title: str
    argv: list
    stdin: str = ""
    env: dict = field(default_factory=dict)
    cwd: Path = PROGRAMS
    database: str = DATABASE
    is_ordered: bool = True

    def go(self, env):
        """Exit code, stdout and stderr, without what differs from call to call."""
        with tempfile.TemporaryDirectory() as folder:
            argv = [word.replace("{tmp}", folder).replace("{db}", env["PGDATABASE"]) for word in map(str, self.argv)]
            result = subprocess.run(argv, input=self.stdin, capture_output=True, text=True, timeout=300, cwd=self.cwd, start_new_session=True,
                                    env=env | self.env | {"HOME": folder, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PAGER": "cat", "EDITOR": "true",
                                                          "PSQL_EDITOR": "true", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"})
        return result.returncode, _constant(result.stdout), _constant(BANNER.sub("", result.stderr))


    def checked(self, env):
        """Runs; fails when the program does."""
        code, out, err = self.go(env)
        assert code == 0, f"{self.argv}: {out}{err}"


class Completions(Run):
    """psql's tab completion, under a terminal."""

    def go(self, env):
        with tempfile.TemporaryDirectory() as folder:
            inputrc = Path(folder) / "inputrc"
            inputrc.write_text("set completion-query-items 0\nset page-completions off\nset bell-style none\nset enable-bracketed-paste off\n"
                               "set disable-completion off\n")
            child = pexpect.spawn(program("psql"), ["-X", "-v", "PROMPT1=> ", "-v", "PROMPT2=> "], encoding="utf-8", timeout=20, dimensions=(200, 300),
                                  env=env | {"TERM": "dumb", "PAGER": "cat", "HOME": folder, "INPUTRC": str(inputrc), "PSQL_HISTORY": "/dev/null"})
            child.expect("> ")
            seen = []
            for number, line in enumerate(psql_commands.completions()):
                # Ctrl-U empties the line again; what is echoed tells that psql is done with it.
                child.send(f"{line}\t\t\x15\\echo do''ne-{number}\r")
                child.expect(rf"done-{number}\r\n")
                seen.append(child.before)
                child.expect("> ")
            child.sendline("\\q")
            child.expect(pexpect.EOF)
        return 0, "\n".join(seen), ""


def _constant(text):
    """Without times, keys, addresses and names of temporary folders."""
    text = re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.M)
    text = re.sub(r"/tmp/\w+|\b0x[0-9a-f]{8,}|(?<=Create Date: ).*", "", text)
    return re.sub(r"^(-- Started on|-- Completed on|;     Archive created at) .*\n", "", text, flags=re.M)


def runs(python):
    """All runs, by program."""
    psql = [program("psql"), "-X"]
    # One psql for all that leaves no state behind, its outputs told apart by their numbers.
    commands = psql_commands.commands()
    script = "".join(f"\\echo <{i}>\n\\warn <{i}>\n{line}\n" for i, line in enumerate(commands) if line.startswith("\\") and "\n" not in line)
    alone = [line for line in commands if not line.startswith("\\") or "\n" in line]
    dump = program("pg_dump")
    archive = f"{dump} -F{{}} -f {{{{tmp}}}}/a {{}}&& {program('pg_restore')} -f - {{{{tmp}}}}/a"
    django = [python, "-m", "django"]
    site = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(PROGRAMS / "django_site")}
    alembic = [python, "-m", "alembic", "-c", "{tmp}/none.ini"]
    return {
        "psql": [Run("psql, all commands", psql, script)] + [Run(f"psql {line}", psql, line + "\n") for line in alone]
        + [Completions("psql, tab completion", [])],
        "pg_dump": [Run("pg_dump " + " ".join(args), [dump, *args]) for args in (
            ["--schema-only"], ["--data-only"], [], ["--inserts"], ["--clean", "--create", "--if-exists"], ["-t", "shop.orders*"], ["-n", "shop", "-s"],
            ["--section=pre-data"], ["--section=post-data"], ["--serializable-deferrable", "-s"], ["--no-owner", "--no-acl", "-s"], ["--enable-row-security", "-a"],
            ["--no-synchronized-snapshots", "-s"], ["--no-blobs"])]
        + [Run("pg_dump -Fc", ["sh", "-c", archive.format("c", "")]), Run("pg_dump -Fd -j2", ["sh", "-c", archive.format("d", "-j2 ")])]
        + [Run("pg_dumpall " + args, [program("pg_dumpall"), "-l", "{db}", args]) for args in ("--globals-only", "--roles-only", "--tablespaces-only")],
        "sqlalchemy": [Run(f"SQLAlchemy on {driver}", [python, "inspect_sqlalchemy.py", driver]) for driver in ("psycopg2", "psycopg", "asyncpg")],
        "django": [Run("django " + " ".join(args), [*django, *args], env=site, cwd=PROGRAMS / "django_site") for args in (
            ["inspectdb"], ["inspectdb", "--include-views", "--include-partitions"], ["showmigrations"], ["showmigrations", "--plan"], ["migrate", "--plan"],
            ["migrate", "--check"], ["makemigrations", "--check", "--dry-run"], ["sqlmigrate", "shop", "0001"], ["check", "--database", "default"])],
        # Alembic tells what it would change in the order of a set of objects.
        "alembic": [Run("alembic " + " ".join(args), [python, "run_alembic.py", *args], is_ordered=args != ["check"]) for args in (
            ["current"], ["current", "--verbose"], ["history"], ["history", "--indicate-current"], ["heads"], ["check"],
            ["revision", "--autogenerate", "-m", "next", "--rev-id", "0002"], ["upgrade", "head"], ["upgrade", "head", "--sql"])],
        "not a read": [
            Run("psql \\password", psql, "\\password tools\nsecret\nsecret\n"),
            Run("psql \\lo_import", psql, f"\\lo_import {PROGRAMS / 'schema.sql'}\n"),
            Run("psql \\lo_unlink", psql, "\\lo_unlink 424243\n"),
            Run("alembic upgrade of a fresh database", [python, "run_alembic.py", "upgrade", "head"], database=EMPTY),
            Run("django migrate of a fresh database", [*django, "migrate"], env=site, cwd=PROGRAMS / "django_site", database=EMPTY),
        ],
    }


class Capture:
    """The statements that the server logs."""

    ENTRY = re.compile(r"^\d+ (?P<user>\S*)@\S* (?P<kind>LOG|DETAIL|ERROR|STATEMENT|[A-Z]+):  (?P<text>.*)$")

    def __init__(self, log):
        self.log = log
        self.at = log.stat().st_size

    def statements(self):
        """Texts of our role since the last call, in order; calls of functions as comments."""
        with open(self.log, "rb") as log:
            log.seek(self.at)
            data = log.read()
        self.at += len(data)
        entries = []
        for line in data.decode(errors="replace").splitlines():
            if line.startswith("\t") and entries:
                entries[-1][1] += "\n" + line[1:]
            elif match := self.ENTRY.match(line):
                entries.append([(match["user"], match["kind"]), match["text"]])
        return [text for text in (_statement(text) for (user, kind), text in entries if user == OWNER and kind == "LOG") if text]


def _statement(text):
    for pattern in (r"statement: (.*)", r"execute [^:]*: (.*)", r"(fastpath function call: .*)"):
        if match := re.fullmatch(pattern, text, re.S):
            return match[1]
    return None


def explain(sql, *extra):
    """The judgements of one text by the proxy, as an engineer on prod."""
    result = command("explain", "--tier", "prod", "--role", "engineer", "--json", *extra, "--", sql)
    assert result.returncode in (0, 1), result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@dataclass
class Text:
    """One distinct text."""

    sql: str
    rows: list
    without_reason: list

    def refused(self):
        """Refused with a reason given."""
        return [row for row in self.rows if row["verdict"] in ("deny", "confirm")]

    def needs_reason(self):
        """Whether it is refused without a reason."""
        return any(row["rule"] == "reason-required" for row in self.without_reason)

    def looks_at_data(self):
        """Whether it reads more than the catalog, or may: what EXECUTE runs is not in its text, and LOCK TABLE holds up others."""
        return any(row["kind"] in ("EXECUTE", "LOCK TABLE") or any(not _is_catalog(table) for table in row["tables"]) for row in self.rows)

    def shape(self):
        """Equal for texts that differ in literals alone."""
        return tuple(row["fingerprint"] for row in self.rows)


def _is_catalog(table):
    return table.startswith(("pg_catalog.", "information_schema.", "pg_")) and "pg_largeobject" not in table


def judge(texts):
    """Each distinct text with its verdicts."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda sql: Text(sql, explain(sql), explain(sql, "--no-reason")), texts))


def venv():
    """The programs' own virtual environment; its Python."""
    folder, wanted = HERE.parent.parent / "target" / "compat-venv", HERE / "requirements.txt"
    stamp = folder / "requirements.installed"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        print("Installing SQLAlchemy, Django and Alembic …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted], check=True)
        shutil.copy(wanted, stamp)
    return str(folder / "bin" / "python")


def prepare(cluster, python):
    """The schema, and what Django and Alembic keep in it."""
    with cluster.admin() as admin:
        admin.execute(f"CREATE ROLE {OWNER} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        for name in (DATABASE, EMPTY):
            admin.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    env = direct(cluster, DATABASE)
    Run("", [program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", PROGRAMS / "schema.sql"]).checked(env)
    by_program = runs(python)
    django = by_program["django"][0]
    Run("", [python, "-m", "django", "migrate"], env=django.env, cwd=django.cwd).checked(env)
    Run("", [python, "run_alembic.py", "stamp", "head"]).checked(env)


def direct(cluster, database):
    """The environment that leads past the proxy."""
    return {"PGHOST": cluster.host, "PGPORT": str(cluster.port), "PGUSER": OWNER, "PGPASSWORD": PASSWORD, "PGDATABASE": database}


def through(proxy, database, reason):
    """The environment that leads through the proxy, as a read-only person on prod."""
    env = proxy.env("alice", "prod", database, reason=reason)
    return {key: env[key] for key in env if key.startswith("PG")}


def make_proxy(cluster):
    """A person on prod reads as much as there is."""
    proxy = Proxy(cluster, {"roles": {"engineer": {"prod": {"max_rows_returned": "none"}}}},
                  {(name, "prod"): name for name in (DATABASE, EMPTY)})
    for name in (DATABASE, EMPTY):
        proxy.config["databases"][name]["prod"]["url"] = f"postgres://{OWNER}@{cluster.host}:{cluster.port}/{name}"
        proxy.config["databases"][name]["default_tier"] = "prod"
    del proxy.config["databases"]["app"]
    proxy.environment["TEST_UPSTREAM_PASSWORD"] = PASSWORD
    proxy.write_config()
    return proxy.start()


def numbered(text):
    """Outputs of a psql that ran many commands, by their number."""
    parts = re.split(r"^<(\d+)>\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def differences(run, before, after):
    """What a run gave directly and not through the proxy."""
    if before == after or not run.is_ordered and sorted(str(before).split(", ")) == sorted(str(after).split(", ")):
        return []
    if not run.title.endswith("all commands"):
        return [] if OWN_OUTPUT.match(run.title) and before[0] == after[0] else [(run.title, before, after)]
    commands = psql_commands.commands()
    found = []
    for old, new in zip(before[1:], after[1:]):
        old, new = numbered(old), numbered(new)
        for number in old:
            line = commands[int(number)]
            if old[number] != new.get(number) and not OWN_OUTPUT.match(line):
                found.append((line, old[number], new.get(number)))
    return found


def compare(cluster, proxy, run, capture):
    """Runs directly and through the proxy: statements, differences, refusals with a reason, and without."""
    capture.statements()
    before = run.go(direct(cluster, run.database))
    statements = capture.statements()
    after, refused = refusals(proxy, run, "TEST-1")
    _, without = refusals(proxy, run, None)
    return statements, differences(run, before, after), refused, without


def refusals(proxy, run, reason):
    """One run through the proxy, and the records of what it refused."""
    seen = len(proxy.records("deny"))
    result = run.go(through(proxy, run.database, reason))
    # A session's end is recorded behind all that it did.
    wait_until(lambda: len(proxy.records("session.start")) == len(proxy.records("session.end")), "all sessions have ended")
    return result, proxy.records("deny")[seen:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--save", action="store_true")
    parser.add_argument("programs", nargs="*")
    args = parser.parse_args()
    python = venv()
    cluster = Cluster()
    proxy, wrong = None, []
    try:
        cluster.create()
        prepare(cluster, python)
        proxy = make_proxy(cluster)
        capture = Capture(cluster.log)
        for name, several in runs(python).items():
            if not args.programs or name in args.programs:
                wrong += report(name, several, cluster, proxy, capture, args.save)
    finally:
        if proxy:
            proxy.close()
        cluster.remove()
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


def changes(before, after):
    """A diff of two outputs."""
    before, after = ("\n".join(map(str, x)) if isinstance(x, tuple) else str(x) for x in (before, after))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "directly", "through the proxy", lineterm="", n=1)
    return "\n".join(line[:300] for line in itertools.islice(lines, 30))


def report(name, several, cluster, proxy, capture, save):
    """Compares one program, prints its counts; what is not as it should be."""
    texts, different, refused, without = {}, [], [], []
    wrong = []
    for run in several:
        statements, found, denied, denied_without = compare(cluster, proxy, run, capture)
        texts |= dict.fromkeys(statements)
        if run.title in NOT_A_READ:
            why, rule = NOT_A_READ[run.title]
            print(f"  not a read: {run.title} ({why}): {sorted({d['rule'] for d in denied})}")
            if {d["rule"] for d in denied} != {rule}:
                wrong.append(f"{run.title}: refused by {denied}")
            continue
        different += found
        refused += [(run.title, record) for record in denied]
        without += [(run.title, record) for record in denied_without]
    if name == "not a read":
        return wrong
    calls = [text for text in texts if text.startswith("fastpath")]
    judged = judge([text for text in texts if not text.startswith("fastpath")])
    denied = [text for text in judged if text.refused()]
    reasoned = [text for text in judged if text.needs_reason()]
    print(f"{name}: {len(several)} runs, {len(judged)} distinct texts ({len({t.shape() for t in judged})} forms) and {len(calls)} function calls;"
          f" {len(denied)} refused, {len(reasoned)} need a reason; through the proxy {len(refused)} refused, {len(different)} outputs differ,"
          f" {len(without)} refused without a reason", flush=True)
    wrong += [f"{name}: refused by {row['rule']}: {text.sql}\n    {row['detail']}" for text in denied for row in text.refused()]
    wrong += [f"{name}: {title}: refused by {record.get('rule')} through the proxy: {record.get('sql')}" for title, record in refused]
    wrong += [f"{name}: {line}: another output through the proxy:\n{changes(old, new)}" for line, old, new in different]
    for text in {text.shape(): text for text in reasoned}.values():
        print("    needs a reason:", " ".join(text.sql.split())[:120])
    wrong += [f"{name}: needs a reason, but looks at the catalog only: {text.sql}" for text in reasoned if not text.looks_at_data()]
    explained = {text.sql for text in reasoned} | set(calls)
    wrong += [f"{name}: {title}: needs a reason through the proxy only: {record.get('sql')}" for title, record in without
              if record.get("rule") == "reason-required" and record.get("sql") not in explained and "lo_" not in (record.get("sql") or "")]
    if save:
        write(name, judged)
    return wrong


def write(name, judged):
    """One text of each form, as cases of tests/tools_corpus.rs."""
    SAVED.mkdir(exist_ok=True)
    forms = {}
    for text in judged:
        forms.setdefault(text.shape(), text)
    lines = [json.dumps({"sql": text.sql} | ({"needs_reason": True} if text.needs_reason() else {}), ensure_ascii=False) for text in forms.values()]
    (SAVED / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
