"""Suites in the packages of crates.io, run with cargo."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from support.cluster import SUPERUSER_PASSWORD
from support.compat import CACHE
from support.proxy import ROOT

from .suite import TIMEOUT, Suite


class TokioPostgres(Suite):
    """tokio-postgres, as the version that pgbelay itself uses"""

    name = "tokio-postgres"
    setup = ["CREATE EXTENSION hstore", "CREATE EXTENSION citext", "CREATE EXTENSION ltree",
             *(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'password'" for user in ("pass_user", "scram_user"))]
    users = {"pass_user": "password", "scram_user": "password"}

    def prepare(self):
        """Copies the package, whose tests have their server's address built in."""
        metadata = json.loads(subprocess.run(["cargo", "metadata", "--format-version=1", "--locked"], cwd=ROOT, capture_output=True, text=True,
                                             check=True).stdout)
        package = next(p for p in metadata["packages"] if p["name"] == "tokio-postgres")
        source = Path(package["manifest_path"]).parent
        self.tests = source / "tests"
        self.folder = CACHE / source.name
        if not self.folder.exists():
            shutil.copytree(source, self.folder)
            with open(self.folder / "Cargo.toml", "a") as manifest:
                manifest.write("\n[workspace]\n")

    def run(self, server):
        """Outcome and reason by test, and what was printed."""
        for test in self.tests.rglob("*.rs"):
            # Only what is connected to, not what is parsed.
            text = test.read_text()
            if test.name != "parse.rs":
                text = text.replace("5433", str(server.port)).replace("user=postgres", f"user=postgres password={SUPERUSER_PASSWORD}")
            (self.folder / "tests" / test.relative_to(self.tests)).write_text(text)
        done = subprocess.run(
            ["cargo", "test", "--quiet", "--test", "test", "--features",
             "with-chrono-0_4,with-uuid-1,with-serde_json-1,with-time-0_3,with-bit-vec-0_9,with-eui48-1,with-geo-types-0_7",
             "--", "--format=pretty", *([self.only] if self.only else [])],
            cwd=self.folder, env=os.environ | {"CARGO_TARGET_DIR": str(self.folder / "target")}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT)
        words = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}
        reasons = dict(re.findall(r"^---- (\S+) stdout ----\n(.*?)(?=^----|^failures:)", done.stdout, re.M | re.S))
        results = {test: (words[word], reasons.get(test, "")) for test, word in
                   re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", done.stdout, re.M)}
        if not results:
            sys.exit(f"{self.name} did not run:\n{done.stdout[-4000:]}")
        return results, done.stdout
