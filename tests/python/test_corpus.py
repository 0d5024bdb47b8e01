"""The statement corpus end to end: tests/corpus/attacks.jsonl and harmless.jsonl, in both query protocols.

Each case runs as one session. known_gaps.json names the cases that do not hold yet, with the reason, as "id" or
"id/protocol"; such a case must fail, so that a gap that has been closed is taken off the list.
"""

import json
from pathlib import Path

import pytest
from psycopg import pq

from support.digest import differences, digest

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
USER_OF = {"engineer": "alice", "service": "app"}
# What a case changes must not make the next one meaningless: the two files have databases of their own.
NAMES = {(name, tier): f"corpus_{name}_{tier}" for name in ("attacks", "harmless") for tier in ("int", "stg", "prod")}


def _cases():
    gaps_file = CORPUS / "known_gaps.json"
    gaps = json.loads(gaps_file.read_text()) if gaps_file.exists() else {}
    for name in ("attacks", "harmless"):
        for line in (CORPUS / f"{name}.jsonl").read_text().splitlines():
            case = json.loads(line)
            for protocol in ("simple", "extended"):
                marks = []
                reason = gaps.get(case["id"]) or gaps.get(f"{case['id']}/{protocol}")
                if reason:
                    marks.append(pytest.mark.xfail(strict=True, reason=reason))
                if case["expect"] != "allow":
                    marks.append(pytest.mark.needs_proxy)
                yield pytest.param(name, case, protocol, id=f"{case['id']}/{protocol}", marks=marks)


@pytest.fixture(scope="module")
def corpus_proxy(cluster, make_module_proxy):
    for name in NAMES.values():
        cluster.create_database(name)
    return make_module_proxy(None, dict(NAMES))


@pytest.fixture(scope="module")
def watchers(cluster):
    """A superuser's connection to each database, listening on the channel that the corpus notifies."""
    made = {}

    def get(dbname):
        if dbname not in made:
            made[dbname] = cluster.admin(dbname)
            made[dbname].execute("LISTEN ch")
        return made[dbname]

    yield get
    for conn in made.values():
        conn.close()


class Answer:
    """What one step was answered with."""

    def __init__(self, sql):
        self.sql = sql
        self.values, self.errors, self.notices = [], [], []

    def refusals(self):
        """Errors that a rule of the proxy made."""
        return [e for e in self.errors if (e["detail"] or "").startswith("rule ")]


def _run(conn, step, protocol):
    """Sends one step through libpq and drains its answer, COPY included."""
    answer = Answer(step)
    pgconn = conn.pgconn
    field = pq.DiagnosticField
    pgconn.notice_handler = lambda result: answer.notices.append(result.get_error_message())
    if protocol == "simple":
        pgconn.send_query(step.encode())
    else:
        pgconn.send_query_params(step.encode(), None)
    while result := pgconn.get_result():
        if result.status == pq.ExecStatus.COPY_OUT:
            while pgconn.get_copy_data(0)[0] > 0:
                pass
        elif result.status == pq.ExecStatus.COPY_IN:
            pgconn.put_copy_end(b"not wanted")
        elif result.status == pq.ExecStatus.TUPLES_OK:
            answer.values += [result.get_value(row, 0) for row in range(result.ntuples)]
        elif result.status == pq.ExecStatus.FATAL_ERROR:
            def text(code, result=result):
                value = result.error_field(code)
                return value.decode() if value is not None else None
            answer.errors.append({"sqlstate": text(field.SQLSTATE), "message": text(field.MESSAGE_PRIMARY),
                                  "detail": text(field.MESSAGE_DETAIL), "hint": text(field.MESSAGE_HINT)})
        if pgconn.status == pq.ConnStatus.BAD:
            raise AssertionError(f"the connection is lost after {step!r}: {answer.errors}")
    return answer


@pytest.mark.parametrize("corpus, case, protocol", list(_cases()))
def test_case(corpus_proxy, watchers, corpus, case, protocol):
    watcher = watchers(NAMES[corpus, case["tier"]])
    expect = case["expect"]
    before = digest(watcher) if expect in ("deny", "no-change") else None
    with corpus_proxy.connect(USER_OF[case["role"]], case["tier"], corpus) as conn:
        answers = [_run(conn, step, protocol) for step in case["steps"]]
        alive = _run(conn, "ROLLBACK", "simple")
        assert not alive.errors, f"the session does not go on: {alive.errors}"
    refusals = [r for a in answers for r in a.refusals()]

    if expect == "deny":
        assert refusals, f"no step was refused by the proxy: {[a.errors for a in answers]}"
    if expect in ("deny", "no-change"):
        assert differences(before, digest(watcher)) == []
        assert list(watcher.notifies(timeout=0)) == []
    for refusal in refusals:
        assert refusal["hint"], f"a refusal without a HINT: {refusal}"
        assert len(refusal["sqlstate"]) == 5 and refusal["message"][0] != " "
    if expect == "limited":
        assert [a.errors for a in answers] == [[] for _ in answers]
        assert answers[-1].values == [b"LIMIT=false"]
        # RESET asks for the tier's own value, which it gets: there is nothing to remark.
        if not case["steps"][0].startswith("RESET"):
            assert answers[0].notices, "no NOTICE says that the limit was kept"
    if expect == "allow":
        assert refusals == []
        codes = {e["sqlstate"] for a in answers for e in a.errors}
        # What the proxy itself would answer with; the server's own errors do not count.
        assert not codes & {"42501", "25006", "0A000", "53300", "54000", "08P01", "XX000"}, answers[-1].errors


def test_known_gaps_name_cases():
    """Every entry of known_gaps.json is a case that exists, and has a reason."""
    gaps_file = CORPUS / "known_gaps.json"
    ids = {json.loads(line)["id"] for name in ("attacks", "harmless")
           for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()}
    for key, reason in json.loads(gaps_file.read_text()).items():
        assert key.split("/")[0] in ids, f"no such case: {key}"
        assert reason.strip()
