"""Runs the cargo-fuzz targets of fuzz/, one after the other: fuzz [SECONDS] [--target NAME]."""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
TARGETS = ("classify", "boundedness", "frames")
# Longest input and, where it is text, its words.
OPTIONS = {"classify": ["-max_len=2000", f"-dict={FUZZ / 'sql.dict'}"],
           "boundedness": ["-max_len=300", f"-dict={FUZZ / 'sql.dict'}"],
           "frames": ["-max_len=4000"]}


def main():
    parser = argparse.ArgumentParser(prog="scripts/compat fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=600, help="how long each target runs (600)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be given again")
    args = parser.parse_args()
    if shutil.which("cargo-fuzz") is None:
        sys.exit("Please install cargo-fuzz and a nightly compiler first: cargo install cargo-fuzz; rustup toolchain install nightly")
    # There is no unsafe code to sanitize here, and without a sanitizer ten times as much is tried.
    build = ["cargo", "+nightly", "fuzz", "build", "--sanitizer", "none"]
    subprocess.run(build, cwd=FUZZ, check=True)
    crashed = [target for target in args.target or TARGETS if not fuzz(target, args.seconds)]
    sys.exit(f"crashed: {', '.join(crashed)}; the inputs are in fuzz/artifacts" if crashed else 0)


def fuzz(target, seconds):
    """Runs a target for some seconds from its seeds and what earlier runs have found; whether it held."""
    found = FUZZ / "target" / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    run = ["cargo", "+nightly", "fuzz", "run", "--sanitizer", "none", target, str(found), str(FUZZ / "corpus" / target), "--",
           f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", *OPTIONS[target]]
    result = subprocess.run(run, cwd=FUZZ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    executed = re.findall(r"stat::number_of_executed_units:\s*(\d+)", result.stderr)
    covered = re.findall(r"cov: (\d+)", result.stderr)
    print(f"{target}: {executed[-1] if executed else '?'} inputs in {seconds} s, {covered[-1] if covered else '?'} edges covered, "
          f"{'no crash' if result.returncode == 0 else 'CRASHED'}", flush=True)
    if result.returncode:
        print(result.stderr[-4000:], flush=True)
    return result.returncode == 0


if __name__ == "__main__":
    main()
