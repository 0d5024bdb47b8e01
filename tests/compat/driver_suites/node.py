"""node-postgres: the packages are npm's, their tests are in Debian's source package, which holds the whole repository."""

import os
import re
import shutil
import subprocess
import sys

from support.cluster import SUPERUSER_PASSWORD
from support.compat import CACHE
from support.debian import Archive, unpack

from .suite import HEAD, TEST_TIMEOUT, TIMEOUT, Suite

# Where Debian keeps the newest versions, and the file of theirs with the repository in it.
RELEASE, SOURCE, TARBALL = "sid", "node-postgres", "node-postgres_*.orig.tar.gz"


class NodePostgres(Suite):
    """node-postgres: pg, with pg-pool and pg-cursor"""

    name = "node-postgres"
    others = ["template1"]
    # README.md of the package, and its .github/workflows.
    setup = ["CREATE ROLE scram_test LOGIN SUPERUSER PASSWORD 'test4scram'"]
    users = {"scram_test": "test4scram"}
    # What the tests themselves need, besides the drivers.
    helpers = ["async@2.6.4", "bluebird@3.7.2", "co@4.6.0", "expect.js@0.3.1", "lodash@4", "mocha@10", "pg-copy-streams@0.3.0"]
    with_mocha = ["pg-pool", "pg-cursor"]

    def prepare(self):
        """Installs the drivers of the version that Debian has the tests of, and puts the tests beside them."""
        self.folder = CACHE / self.name
        repository = self.folder / "packages"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not repository.exists():
            unpack(Archive(self.folder, RELEASE).source(SOURCE, TARBALL), "packages", repository)
        modules = self.folder / "node_modules"
        if (modules / "pg/test").exists():
            return
        (self.folder / "package.json").write_text('{"private": true}')
        packages = ["pg", *self.with_mocha]
        versions = {name: re.search(r'"version": "(.*?)"', (repository / name / "package.json").read_text())[1] for name in packages}
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *(f"{name}@{version}" for name, version in versions.items()),
                        *self.helpers], cwd=self.folder, check=True)
        for name in packages:
            shutil.copytree(repository / name / "test", modules / name / "test", symlinks=True)
        shutil.copytree(repository / "pg/script", modules / "pg/script")
        # One test that fails is not to keep the rest of its file from being run.
        suite = modules / "pg/test/suite.js"
        suite.write_text(suite.read_text().replace("process.exit(-1)", "process.exitCode = 1\n        cb()"))

    def run(self, server):
        """Outcome and reason by test, and what was printed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {
            "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres", "PGPASSWORD": SUPERUSER_PASSWORD, "PGDATABASE": "postgres",
            "PGTESTNOSSL": "true", "SCRAM_TEST_PGUSER": "scram_test", "SCRAM_TEST_PGPASSWORD": "test4scram"}
        pg = self.folder / "node_modules/pg"
        subprocess.run(["node", "script/create-test-tables.js", "postgres://"], cwd=pg, env=environment, check=True, stdout=subprocess.DEVNULL)
        results, printed = {}, []
        for file in sorted((pg / "test/integration").rglob("*-tests.js")):
            if self.only and self.only not in str(file):
                continue
            text, code = self._node(["node", file.relative_to(pg), "postgres://"], pg, environment)
            printed.append(text)
            results |= outcomes(f"pg/{file.relative_to(pg / 'test')}", text, code)
        for name in self.with_mocha:
            text, _ = self._node([self.folder / "node_modules/.bin/mocha", "--reporter=tap", "--timeout=10000", "--exit", "test/*.js"],
                                 self.folder / "node_modules" / name, environment)
            printed.append(text)
            results |= tap_outcomes(name, text)
        if not results:
            sys.exit(f"{self.name} did not run:\n{''.join(printed)[-4000:]}")
        return results, "".join(printed)

    @staticmethod
    def _node(command, folder, environment):
        limit = TEST_TIMEOUT if command[0] == "node" else TIMEOUT
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   errors="replace")
        try:
            return process.communicate(timeout=limit)[0], process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0] + f"\nended after {limit} s\n", -1


def outcomes(file, printed, code):
    """The tests of one of pg's files, which prints a mark behind each name, and the file itself: some have no named tests."""
    results = {f"{file}: {name}": ("skipped" if skipped else "passed", "")
               for name, skipped in re.findall(r"^  (\S.*?) (?:✔|(\? - SKIPPED))$", printed, re.M)}
    results[file] = ("passed", "") if code == 0 else ("failed", printed[-HEAD:])
    return results


def tap_outcomes(package, printed):
    """The tests of a run of mocha."""
    results = {}
    for bad, name, skipped, why in re.findall(r"^(not )?ok \d+ (.*?)( # SKIP.*)?\n((?:  .*\n)*)", printed, re.M):
        results[f"{package}: {name}"] = ("failed" if bad else "skipped" if skipped else "passed", why)
    return results
