"""Raw sessions that several test files use, and how to read their answers."""

LOGINS = [("app", "int"), ("app", "prod"), ("alice", "prod")]


def rows(messages):
    """The values of all DataRows."""
    return [m.row() for m in messages if m.kind == "D"]


def status(messages):
    """The transaction status of the last ReadyForQuery."""
    assert messages[-1].kind == "Z"
    return messages[-1].body.decode()
