"""The file: JSON Lines with a statement's `sql` and its node type in Postgres's grammar, `kind`."""

import json
import re
import sys
from collections import namedtuple
from pathlib import Path

Statement = namedtuple("Statement", "sql kind")

COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)


def load(path):
    """The statements in the order of the suite."""
    if not Path(path).is_file():
        sys.exit(f"{path} is not there: give a JSON Lines file of statements with the keys sql and kind")
    with open(path, encoding="utf-8") as lines:
        return [Statement(row["sql"], row["kind"]) for row in map(json.loads, lines)]


def plain(sql, most=160):
    """A statement in one line without its comments, cut to `most` characters."""
    line = " ".join(COMMENT.sub(" ", sql).split())
    return line if len(line) <= most else line[:most - 1] + "…"


def explains_a_query(sql):
    """Whether an EXPLAIN is of SELECT, VALUES, TABLE or WITH, rather than of a write or of CREATE, DECLARE or EXECUTE."""
    rest = re.sub(r"(?i)^explain\b", "", plain(sql, len(sql))).lstrip()
    if re.match(r"(?i)\(\s*(?!select|with|values|table|\()", rest):
        rest = rest[rest.index(")") + 1:]
    rest = re.sub(r"(?i)^(\s*(analy[sz]e|verbose)\b)+", "", rest)
    return bool(re.match(r"(?i)[\s(]*(select|with|values|table)\b", rest))
