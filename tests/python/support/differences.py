"""Differences that are known and explained: tests/compat/differences.toml."""

import tomllib

from .proxy import ROOT

FILE = ROOT / "tests/compat/differences.toml"


class Known:
    """Those of one suite."""

    def __init__(self, suite):
        self.entries = [entry for entry in tomllib.loads(FILE.read_text()).get("difference", []) if suite in entry["suites"]]

    def reason(self, test, changes=()):
        """Why this test differs through pgbelay; `None` when it should not. Of an entry with `shows` the first of the changes must hold
        those words: the others may follow from it."""
        return next((entry["reason"] for entry in self.entries if any(stands_for(name, test) for name in entry["tests"])
                     and all(entry.get("shows", "") in change for change in changes[:1])), None)

    def unseen(self, differing):
        """Names of which no test differs, though they are not said to differ only sometimes."""
        return [name for entry in self.entries if not entry.get("sometimes") for name in entry["tests"]
                if not any(stands_for(name, test) for test in differing)]


def stands_for(name, test):
    """Whether a name of the file means this test: its whole name, or its beginning and a star."""
    return test.startswith(name[:-1]) if name.endswith("*") else test == name
