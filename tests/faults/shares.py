"""The chosen points are run, on one pair or on several at once, each a process with its share of them.

Whoever counted hands the list to all: two runs of the scenario do not come to quite the same points.
Of each entry of the list a line is written when it was run; what has no line was not.
"""

import collections
import json
import os
import subprocess
import sys

from lab import util
from lab.points import Fault

from . import choice
from .scene import Point

# What a merge does, and what a transaction, is decided by who is faster: a run may not come to its point.
TRIES = 3

# entry: its number in the list; verdict: "ok", "missed" (it did not come to the point) or "failed"
Outcome = collections.namedtuple("Outcome", "entry verdict twice")


def run_one(lab, point, fault, verbose):
    twice = 0
    try:
        for _ in range(TRIES):
            came, more = lab.come_to(point, fault)
            twice += more
            if came:
                break
    except (util.Fail, OSError, AssertionError, RuntimeError) as error:
        print("FAIL %s %s: %s" % (fault, point, error), flush=True)
        if lab.pair is not None:
            lab.explain(error)
        lab.down(failed=True)
        return "failed", twice
    if verbose:
        print("# %s %s %s" % ("ok" if came else "did not come to it", fault, point), flush=True)
    return "ok" if came else "missed", twice


def run_here(lab, entries, until, verbose, done):
    """entries: [(number, point, fault)]; done(outcome) after each. What is good is noted at once."""
    good = choice.Good(lab.build)
    for number, point, fault in entries:
        if until and util.now() > until:
            break
        outcome = Outcome(number, *run_one(lab, point, fault, verbose))
        if outcome.verdict == "ok":
            good.add("%s %s" % (fault, point))
        done(outcome)


# --- several ---------------------------------------------------------------------------------------

def run_share(lab, path, verbose):
    """In a process of its own: the list is at path, what came of it goes to path.done."""
    with open(path) as f:
        work = json.load(f)
    entries = [(number, Point.read(point), Fault(fault)) for number, point, fault in work["entries"]]
    with open(path + ".done", "w") as f:
        def done(outcome):
            f.write(json.dumps(outcome) + "\n")
            f.flush()
        run_here(lab, entries, work["until"], verbose, done)


def outcomes(path):
    if not os.path.exists(path + ".done"):
        return []
    with open(path + ".done") as f:
        return [Outcome(*json.loads(line)) for line in f if line.endswith("\n")]


def run_shares(jobs, directory, entries, until):
    """What each says comes as it is said; [Outcome] of all."""
    paths = [os.path.join(directory, "share-%d" % k) for k in range(jobs)]
    for k, path in enumerate(paths):
        with open(path, "w") as f:
            json.dump({"until": until, "entries": [(n, p.written(), f.name) for n, p, f in entries[k::jobs]]}, f)
    running = [subprocess.Popen([sys.executable, os.path.realpath(sys.argv[0]), *sys.argv[1:], "--share", path])
               for path in paths]
    try:
        for share in running:
            share.wait()
    finally:
        for share in running:
            if share.poll() is None:
                share.terminate()
                share.wait()
    return [outcome for path in paths for outcome in outcomes(path)]
