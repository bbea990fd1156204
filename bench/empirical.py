"""False alarms of the empirical audit: ``python -m bench.empirical [RUNS] [FIRST_SEED]``.

Audits the installed code, with its own noise, once for each seed, and prints each run's time and
what did not hold. By design a run raises an alarm with a probability of at most 2e-5.
"""

import sys
import time

from wg_audit.installed import audit as installed
from wg_client.release import canary_audit

RUNS = 200


def main() -> None:
    """Run the audits."""
    words = [int(word) for word in sys.argv[1:]]
    runs, first = (*words, *(RUNS, 0)[len(words) :])
    plants, alarms = canary_audit.plants(canary_audit.made_up_encoder()), 0
    for number in range(runs):
        started = time.process_time()
        report = installed.audit(plants, seed=first + number)
        alarms += not report.passed
        wrong = "; ".join(f"{x.name}: {x.detail}" for x in report.checks if not x.passed)
        print(
            f"seed {first + number}: {time.process_time() - started:.1f} s of one core,"
            f" {alarms} alarms in {number + 1} runs {wrong}",
            flush=True,
        )


if __name__ == "__main__":
    main()
