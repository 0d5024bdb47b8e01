"""Runs texts and asks the server after each whether it has given the transaction an id, as it does for all that writes."""

from .wire import Closed, query

# Texts on their way at once, and their bytes: less than the sockets' buffers hold, since nothing is read while it is sent.
BATCH = 40
BATCH_BYTES = 48 * 1024

BEGIN = "BEGIN; SAVEPOINT before; SET LOCAL statement_timeout = '{timeout}ms'"
# The id of the transaction stays when the text has failed and is rolled back to the savepoint.
ASK = "ROLLBACK TO before; SELECT pg_current_xact_id_if_assigned()"

NOT_TOLD = "not told"


class Outcome:
    """What became of one text: its transaction's id, None without one; the error's SQLSTATE, None without one."""

    def __init__(self, messages, answer):
        rows = [m.row() for m in answer if m.kind == "D"]
        self.assigned = rows[0][0] if rows else NOT_TOLD
        self.sqlstate = next((m.sqlstate for m in messages if m.kind == "E"), None)
        self.notices = [m.fields() for m in messages if m.kind == "N"]

    def warnings(self):
        """What the proxy's warnings say of the text, each with its rule."""
        return [n.get("D", "") for n in self.notices if n.get("D", "").startswith("rule ")]


class Runner:
    """A raw session in which each text runs in a transaction of its own; many are on their way at once."""

    def __init__(self, login, settings=(), timeout=150):
        self.login, self.settings = login, settings
        self.begin = BEGIN.format(timeout=timeout)
        self.wire = None
        # Texts that ended the session or had no answer in time among others; each has been run again alone.
        self.retried = []

    def run(self, texts):
        """Yields an Outcome for each text, in order; `None` for a text that ended the session, or had no answer in time."""
        texts = list(texts)
        while texts:
            batch = self._next_batch(texts)
            done = 0
            try:
                for outcome in self._batch(batch):
                    yield outcome
                    done += 1
            except (Closed, TimeoutError):
                self.close()
                if len(batch) == 1:
                    yield None
                else:
                    # The rest have not run; alone, the one that ended it is told from them.
                    self.retried.append(batch[done])
                    for text in batch[done:]:
                        yield from self.run([text])
            texts = texts[len(batch):]

    @staticmethod
    def _next_batch(texts):
        size = 0
        for count, text in enumerate(texts[:BATCH]):
            size += len(text.encode())
            if count and size > BATCH_BYTES:
                return texts[:count]
        return texts[:BATCH]

    def _batch(self, batch):
        wire = self._session()
        wire.send(b"".join(query(sql) for text in batch for sql in [self.begin, text, ASK, "ROLLBACK"]))
        for _ in batch:
            _, messages, answer, _ = (wire.until() for _ in range(4))
            yield Outcome(messages, answer)

    def _session(self):
        if self.wire is None:
            self.wire = self.login()
            for setting in self.settings:
                self.wire.simple(setting)
        return self.wire

    def close(self):
        """Ends the session."""
        if self.wire is not None:
            self.wire.sock.close()
            self.wire = None
