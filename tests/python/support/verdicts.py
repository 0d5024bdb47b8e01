"""Verdicts on many texts at once, as `pgbelay explain` gives them: without a database, and so with its static catalog."""

import json

from .proxy import command

# Statements that answer with rows, by the name of their kind.
QUERIES = {"SELECT", "EXPLAIN", "SHOW", "COPY"}


def judge(texts, role, tier):
    """The statements of each text with their verdicts: a list of lists of what `explain --json` prints."""
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    result = command("explain", "--json-lines", "--role", role, "--tier", tier, stdin=lines, timeout=600)
    assert result.returncode in (0, 1), result.stderr
    answers = [json.loads(line)["statements"] for line in result.stdout.splitlines()]
    assert len(answers) == len(texts)
    return answers


def refusal(statements):
    """The first statement that may not run as it stands, if there is one."""
    return next((s for s in statements if s["verdict"] in ("deny", "confirm")), None)


def is_read(statements):
    """Whether a text that was judged for a read-only session holds nothing but queries which may run there."""
    return bool(statements) and all(s["verdict"] == "read_only" and s["kind"] in QUERIES for s in statements)


def is_unparsed(statements):
    """Whether one of them could not be parsed."""
    return any(s["rule"].startswith("unparsed") for s in statements)


def table_functions(statements):
    """The calls of functions of Postgres's own that the rules know, as words."""
    return [f"{f['is']}: {f['name']}" for s in statements for f in s["functions"] if f["is"] != "opaque"]
