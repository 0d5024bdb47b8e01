"""What counts as a read writes nothing: run in a session that may write, the server gives its transaction no id, as it does for all
that writes, unless the rules name the function that did it.

PGBELAY_READS is the number of mutations (3000); PGBELAY_READS_SEED repeats a run. `scripts/compat reads` does the same with far more.
"""

import json
import os
from pathlib import Path

import pytest

from support.mutate import Mutator
from support.transaction_ids import NOT_TOLD, Runner
from support.verdicts import is_read, is_unparsed, judge, table_functions

pytestmark = pytest.mark.needs_proxy

MUTATIONS = int(os.environ.get("PGBELAY_READS", "3000"))
SEED = int(os.environ.get("PGBELAY_READS_SEED", "20260101"))

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
# A session that may write, which is warned of each call that may do anything.
WARNING = {"roles": {"service": {tier: {"opaque_write": "warn", "dangerous": "warn"} for tier in ("int", "stg")}}}


def own_texts():
    """The project's own statements: queries of all kinds, and the corpus of what must and must not run."""
    texts = (CORPUS / "reads.sql").read_text().splitlines()
    for name in ("attacks", "harmless"):
        for line in (CORPUS / f"{name}.jsonl").read_text().splitlines():
            texts += json.loads(line)["steps"]
    return list(dict.fromkeys(texts))


@pytest.fixture(scope="module")
def warning_proxy(cluster, make_module_proxy):
    database = cluster.fresh_database("reads")
    return make_module_proxy(WARNING, {("app", tier): database for tier in ("int", "stg")})


@pytest.fixture
def run(warning_proxy):
    """Runs texts in a session that may write; what could not be parsed runs where it counts as a read."""
    runners = {tier: Runner(lambda tier=tier: warning_proxy.wire_login("app", tier), ["SET lock_timeout = '1s'"], timeout=1000)
               for tier in ("int", "stg")}
    yield lambda texts, tier: list(runners[tier].run(texts))
    for runner in runners.values():
        runner.close()


def test_writes_are_given_an_id(run):
    """The measure itself: without this the other tests could not fail."""
    writes = ["INSERT INTO email_threads (subject) VALUES ('x')", "SELECT txid_current()", "SELECT id FROM projects FOR UPDATE",
              "WITH x AS (DELETE FROM email_drafts WHERE id = 1) SELECT 1", "SELECT setval('projects_id_seq', 100)",
              "UPDATE projects SET name = 'x' WHERE id = 1/(id - id)"]
    outcomes = run(writes, "int")
    assert [o.assigned is not None and o.assigned != NOT_TOLD for o in outcomes] == [True] * 5 + [False]
    assert [o.sqlstate for o in outcomes] == [None] * 5 + ["22012"]
    assert [o.assigned for o in run(["SELECT 1", "SELEC 1", "SELECT 1/0"], "int")] == [None] * 3


def test_calls_that_write_are_named(run):
    (outcome,) = run(["SELECT touch(1)"], "int")
    assert outcome.assigned and outcome.assigned != NOT_TOLD
    assert outcome.warnings() == ["rule opaque-write: touch is volatile or not known, so what it changes cannot be read off the statement"]


def test_reads_and_their_mutations_write_nothing(run):
    texts = own_texts()
    texts = list(dict.fromkeys(texts + Mutator(texts, SEED).some(MUTATIONS)))
    reads = [(text, facts) for text, facts in zip(texts, judge(texts, "engineer", "prod")) if is_read(facts)]
    assert len(reads) > len(texts) / 5, "too few of the texts are reads to show anything"
    ran = 0
    for tier, unparsed in (("int", False), ("stg", True)):
        chosen = [(text, facts) for text, facts in reads if is_unparsed(facts) == unparsed]
        for (text, facts), outcome in zip(chosen, run([text for text, _ in chosen], tier), strict=True):
            assert outcome, f"no answer: {text}"
            assert outcome.assigned is None or outcome.warnings() or table_functions(facts), f"seed {SEED}: {text}"
            ran += outcome.sqlstate is None
    assert ran > len(reads) / 5, "too few of the reads ran to show anything"
