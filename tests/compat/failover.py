"""Kills a primary under load, again and again: time to the first write on its standby, errors, writes lost or doubled.

failover.py [ROUNDS] [CLIENTS]: 5 rounds of 40 clients on a pool of 10 unless told otherwise. Fails when a write is lost or doubled.
"""

import statistics
import sys

from support.failover import Failover

ROUNDS, CLIENTS = (int(word) for word in (sys.argv[1:] + ["5", "40"][len(sys.argv) - 1:])[:2])


def main():
    """Runs the rounds and prints a line for each."""
    print(f"{CLIENTS} clients that write, a pool of 10, a synchronous standby")
    print("round  writes  killed to promoted  promoted to first write  errors              lost  doubled")
    pauses, wrong = [], 0
    for number in range(1, ROUNDS + 1):
        with Failover(pool=10) as site:
            load = site.load(CLIENTS)
            try:
                load.wait_for_writes(50, 120)
                killed, promoted = site.fail_over()
                load.wait_for_writes(50, 120)
            finally:
                load.stop()
            lost, doubled = load.lost_and_doubled(site.written())
            first = load.first_success_after(promoted) - promoted
            pauses.append(first)
            wrong += len(lost) + len(doubled)
            errors = ", ".join(f"{code}: {count}" for code, count in sorted(load.errors().items())) or "none"
            total = sum(map(len, load.acknowledged))
            print(f"{number:5}  {total:6}  {promoted - killed:16.2f} s  {first:21.2f} s  {errors:18}  {len(lost):4}  {len(doubled):7}",
                  flush=True)
    print(f"promoted to first write: median {statistics.median(pauses):.2f} s, longest {max(pauses):.2f} s")
    return 1 if wrong else 0


sys.exit(main())
