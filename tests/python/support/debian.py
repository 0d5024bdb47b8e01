"""Debian's packages, downloaded with apt and unpacked without being installed."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path


class Archive:
    """Debian's archive, with package lists and downloads kept in `folder`: the system's own release, or another one."""

    def __init__(self, folder, release=None):
        self.folder, self.state = folder, folder / "apt"
        for name in ("lists/partial", "archives/partial"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        self.options = {"Dir::Etc::sourcelist": self._sources(release), "Dir::Etc::sourceparts": "-", "Dir::State::lists": self.state / "lists",
                        "Dir::Cache": self.state, "APT::Sandbox::User": pwd.getpwuid(os.getuid()).pw_name}

    def _sources(self, release):
        sources = self.state / "sources.list"
        if release:
            archives = [("http://deb.debian.org/debian", release)]
        else:
            system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
            release = system["VERSION_CODENAME"].strip('"')
            archives = [("http://deb.debian.org/debian", release), ("http://deb.debian.org/debian-security", f"{release}-security")]
        sources.write_text("".join(f"{kind} {url} {name} main\n" for url, name in archives for kind in ("deb", "deb-src")))
        return sources

    def _run(self, program, *arguments):
        command = [program, *(f"-o{key}={value}" for key, value in self.options.items()), *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def _get(self, *arguments):
        if not any((self.state / "lists").glob("*Sources*")):
            self._run("apt-get", "-qq", "update")
        return self._run("apt-get", "-qq", *arguments)

    def source(self, package, tarball):
        """The path of that file, a pattern, of a source package."""
        # The newest one is not on every mirror yet, and of some not every file: any version will do that has this one.
        for version in self._versions(package):
            self._get("source", "--download-only", f"{package}={version}")
            found = next(self.folder.glob(tarball), None)
            if found:
                return found
        sys.exit(f"the source package {package} cannot be downloaded")

    def _versions(self, package):
        """Versions of a source package, newest first."""
        self._get("update")
        shown = self._run("apt-cache", "showsrc", package).stdout
        versions = [line.removeprefix("Version: ") for line in shown.splitlines() if line.startswith("Version: ")]
        return sorted(versions, reverse=True)

    def binary(self, package):
        """The folder with the files of a binary package."""
        unpacked = self.folder / package
        if not unpacked.exists():
            got = self._get("download", package)
            if got.returncode:
                sys.exit(f"the package {package} cannot be downloaded: {got.stderr}")
            subprocess.run(["dpkg-deb", "-x", next(self.folder.glob(f"{package}_*.deb")), unpacked], check=True)
        return unpacked


def unpack(tarball, inside, target):
    """One folder of a tarball, named without the tarball's own first folder, as `target`."""
    with tempfile.TemporaryDirectory(dir=target.parent) as unpacked:
        subprocess.run(["tar", "-xf", tarball, "-C", unpacked, "--strip-components=1", "--wildcards", f"*/{inside}"], check=True)
        (Path(unpacked) / inside).rename(target)
