"""What the client gets when a statement is refused, in every state of the protocol."""

import pytest

from support import wire as w
from support.sessions import rows, status
from support.wire import SYNC, bind, describe, execute, kinds, parse, query

REFUSED = "DELETE FROM email_drafts"


@pytest.fixture
def prod(proxy):
    """The service on prod: writes, and every unbounded one is refused."""
    with proxy.wire_login("app", "prod") as conn:
        yield conn


def assert_denied(answer, rule="unbounded-write"):
    errors = [m.fields() for m in answer if m.kind == "E"]
    assert [(e["S"], e["C"]) for e in errors] == [("ERROR", "42501")], errors
    assert errors[0]["D"].startswith(f"rule {rule}: ")
    assert errors[0]["H"]


@pytest.mark.needs_proxy
class TestRefusal:
    def test_simple(self, prod):
        answer = prod.simple(REFUSED)
        assert kinds(answer) == "EZ" and status(answer) == "I"
        assert_denied(answer)
        assert rows(prod.simple("SELECT count(*) FROM email_drafts")) != [["0"]]

    def test_one_of_several_statements_refuses_all(self, prod, cluster):
        answer = prod.simple(f"UPDATE projects SET status = 'partly' WHERE id = 1; {REFUSED}; SELECT 1")
        assert kinds(answer) == "EZ"
        assert_denied(answer)
        assert not cluster.logged("'partly'")

    def test_a_refused_query_undoes_the_batch_before_it(self, prod):
        """As any error in a Query does: the batch is of its transaction."""
        before = rows(prod.simple("SELECT status FROM projects WHERE id = 1"))
        prod.send(parse("UPDATE projects SET status = 'undone' WHERE id = 1"), bind(), execute(), query(REFUSED))
        answer = prod.until()
        assert_denied(answer)
        assert status(answer) == "I"
        assert not w.errors(prod.simple("BEGIN; COMMIT"))
        assert rows(prod.simple("SELECT status FROM projects WHERE id = 1")) == before

    def test_extended_skips_to_sync(self, prod):
        prod.send(parse(REFUSED), bind(), describe("P"), execute(), parse("SELECT 'skipped'"), bind(), execute(), SYNC)
        answer = prod.until()
        assert kinds(answer) == "EZ" and status(answer) == "I"
        assert_denied(answer)
        prod.send(parse("SELECT 'after'"), bind(), execute(), SYNC)
        assert rows(prod.until()) == [["after"]]

    def test_extended_error_comes_before_sync_and_ready_only_after_it(self, prod):
        prod.send(parse(REFUSED, "refused"), w.FLUSH)
        assert_denied(prod.until("E"))
        prod.send(query("SELECT 'ignored'"))
        assert prod.silent()
        prod.send(SYNC)
        assert kinds(prod.until()) == "Z"
        prod.send(bind("refused"), SYNC)
        assert w.errors(prod.until()) == ["26000"]

    def test_pipeline_before_it_is_rolled_back(self, prod):
        """What came before it since the last Sync is one transaction with it, as with any error."""
        prod.send(parse("UPDATE projects SET status = 'before' WHERE id = 2"), bind(), execute(), parse(REFUSED), bind(), execute(), SYNC)
        answer = prod.until()
        assert_denied(answer)
        assert rows(prod.simple("SELECT count(*) FROM projects WHERE status = 'before'")) == [["0"]]

    @pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
    def test_inside_a_transaction_block(self, prod, extended, cluster):
        prod.simple("BEGIN")
        prod.simple("UPDATE projects SET status = 'undone' WHERE id = 3")
        if extended:
            prod.send(parse(REFUSED), bind(), execute(), SYNC)
            answer = prod.until()
        else:
            answer = prod.simple(REFUSED)
        assert_denied(answer)
        assert status(answer) == "E"
        assert w.errors(prod.simple("SELECT 1")) == ["25P02"]
        answer = prod.simple("COMMIT")
        assert [m.tag for m in answer if m.kind == "C"] == ["ROLLBACK"] and status(answer) == "I"
        assert rows(prod.simple("SELECT count(*) FROM projects WHERE status = 'undone'")) == [["0"]]
        assert cluster.logged("unbounded-write"), "no trace in the server's log"

    def test_directly_behind_begin(self, prod):
        prod.simple("BEGIN")
        answer = prod.simple(REFUSED)
        assert_denied(answer)
        assert status(answer) == "E"
        assert status(prod.simple("ROLLBACK")) == "I"

    def test_savepoints_still_work(self, prod):
        prod.simple("BEGIN")
        prod.simple("UPDATE projects SET status = 'kept' WHERE id = 4")
        prod.simple("SAVEPOINT before_it")
        assert status(prod.simple(REFUSED)) == "E"
        assert status(prod.simple("ROLLBACK TO before_it")) == "T"
        assert status(prod.simple("COMMIT")) == "I"
        assert rows(prod.simple("SELECT count(*) FROM projects WHERE status = 'kept'")) == [["1"]]

    def test_in_a_failed_block(self, prod):
        prod.simple("BEGIN")
        prod.simple("SELECT 1/0")
        answer = prod.simple(REFUSED)
        assert len(w.errors(answer)) == 1 and status(answer) == "E"
        assert status(prod.simple("ROLLBACK")) == "I"

    def test_with_an_open_portal(self, prod):
        prod.simple("BEGIN")
        prod.send(parse("SELECT i FROM generate_series(1, 100) i"), bind(portal="open"), execute("open", 1), SYNC)
        assert rows(prod.until()) == [["1"]]
        assert status(prod.simple(REFUSED)) == "E"
        prod.send(execute("open", 1), SYNC)
        assert len(w.errors(prod.until())) == 1
        assert status(prod.simple("ROLLBACK")) == "I"

    def test_hundred_in_a_row(self, prod):
        prod.send(*(query(REFUSED) for _ in range(100)))
        for _ in range(100):
            assert kinds(prod.until()) == "EZ"
        assert kinds(prod.simple("SELECT 1")) == "TDCZ"


@pytest.mark.needs_proxy
@pytest.mark.parametrize("text", [
    "RESET ALL; COMMIT; SELECT wipe_drafts()",
    "RESET ALL; SELECT wipe_drafts()",
    "SELECT 1; RESET ALL; BEGIN; SELECT wipe_drafts(); COMMIT",
    "DISCARD ALL",
])
def test_read_only_outlives_a_reset(proxy, text):
    """The server's own READ ONLY stops a function that the proxy cannot look into."""
    with proxy.wire_login("alice", "prod") as person:
        before = rows(person.simple("SELECT count(*) FROM email_drafts"))
        person.simple(text)
        person.simple("ROLLBACK")
        person.send(parse("RESET ALL"), bind(), execute(), SYNC, parse("SELECT wipe_drafts()"), bind(), execute(), SYNC)
        person.until("Z")
        errors = [m.fields()["C"] for m in person.until("Z") if m.kind == "E"]
        assert errors == ["25006"]
        assert rows(person.simple("SELECT count(*) FROM email_drafts")) == before
        assert rows(person.simple("SHOW transaction_read_only")) == [["on"]]
