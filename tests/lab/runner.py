"""Run many test scripts; those that can, on one pair that is brought up once.

After each script the pair is asked whether it is fit for another; if not, it is replaced,
so that one failure does not become many.  Exit 1 if any failed.  What was skipped is named.
"""

import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import time

from . import mailfs, rundir, selftest, util
from .case import FAIL, PASS, SKIP
from .pair import Pair

LIMIT = 420     # seconds for a script, itself limited to less (case.main()); for one that is deaf to that
SELFTEST = "selftest"       # among the words: the lab's own, which is first when all is run
HERE = os.path.join(mailfs.REPO, "tests", "nodes")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", help="build directory (its bin/ is used)")
    parser.add_argument("--list", action="store_true", help="name the scripts and end")
    parser.add_argument("--pieces", action="store_true",
                        help="name all, a line for those that go together, and end")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("scripts", nargs="*", help="names or parts of names")
    return parser.parse_args()


def scripts(wanted):
    every = sorted(glob.glob(os.path.join(HERE, "test_*.py")))
    if not wanted:
        return every

    def matches(script, word):
        if os.path.exists(word):
            return os.path.samefile(word, script)
        return word in os.path.basename(script)
    return [s for s in every if any(matches(s, w) for w in wanted)]


def pieces():
    """Words for runs that can go beside each other: those on one pair, then each with a pair of its own."""
    every = scripts([])
    own = [s for s in every if wants_own(s)]
    return [[SELFTEST] + [s for s in every if s not in own]] + [[s] for s in own]


def wants_own(script):
    """Does it ask for a pair of its own (or none)?  Then none is brought up for it."""
    with open(script) as f:
        return re.search(r"case\.main\([^)]*own=", f.read()) is not None


class Runner:
    def __init__(self):
        self.pair, self.results = None, []

    def fresh_pair(self):
        if self.pair is None:
            self.pair = Pair()
            self.pair.up()
        return self.pair

    def drop_pair(self):
        if self.pair is not None:
            self.pair.down()
            self.pair = None

    def one(self, script):
        name = os.path.splitext(os.path.basename(script))[0]
        env = dict(os.environ)
        if not wants_own(script):
            try:
                env["LAB_PAIR"] = self.fresh_pair().run_dir
            except util.Fail as error:
                print("FAIL %s: no pair: %s" % (name, error), flush=True)
                self.pair.report_failure()
                self.drop_pair()
                return name, FAIL
        code = self.wait(name, subprocess.Popen([sys.executable, script], env=env,
                                                start_new_session=True))
        return name, self.after(name, code) if "LAB_PAIR" in env else code

    def after(self, name, code):
        """Is the pair fit for the next one?  A test that leaves it unfit has failed."""
        illness = self.pair.illness()
        if illness:
            print("FAIL %s: leaves the pair unfit: %s" % (name, illness), flush=True)
            self.pair.report_failure()
        if illness or code == FAIL:
            self.drop_pair()
        return FAIL if illness else code

    def wait(self, name, child):
        try:
            return child.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            rundir.reap(print)
            print("FAIL %s: killed after %d s" % (name, LIMIT), flush=True)
            return FAIL
        except BaseException:
            self.end(child)
            raise

    def end(self, child):
        """^C: let the script tear its own pair down, then our own."""
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def all(self, chosen):
        # those with pairs of their own last: the shared one is gone by then
        for script in sorted(chosen, key=wants_own):
            if wants_own(script):
                self.drop_pair()
            self.results.append(self.one(script))

    def summary(self, seconds):
        count = {c: [n for n, code in self.results if code == c] for c in (PASS, SKIP)}
        failed = [n for n, code in self.results if code not in (PASS, SKIP)]
        print("nodes: %d passed, %d failed, %d skipped in %.0f s" % (
            len(count[PASS]), len(failed), len(count[SKIP]), seconds))
        for word, names in (("failed", failed), ("skipped", count[SKIP])):
            if names:
                print("  %s: %s" % (word, " ".join(names)))
        return 1 if failed else 0


def run_all(chosen, repeat):
    rundir.end_on_signals()
    rundir.reap(print)
    runner, start = Runner(), time.monotonic()
    try:
        for _ in range(repeat):
            runner.all(chosen)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    finally:
        runner.drop_pair()
    return runner.summary(time.monotonic() - start)


def main():
    options = arguments()
    if options.build:
        os.environ["LAB_BIN"] = os.path.join(os.path.realpath(options.build), "bin")
    if options.pieces:
        print("\n".join(" ".join(os.path.relpath(word) if word != SELFTEST else word for word in piece)
                        for piece in pieces()))
        return 0
    chosen = scripts(options.scripts)
    if options.list or not chosen:
        print("\n".join(os.path.basename(s) for s in chosen) or "no such test")
        return 0 if chosen else 2
    if os.geteuid() != 0:
        print("SKIP nodes: must be root (namespaces, mounts)")
        return SKIP
    if mailfs.backend() != "shared" and not mailfs.built():
        print("FAIL nodes: no programs in %s (run make)" % mailfs.bindir())
        return 1
    if (not options.scripts or SELFTEST in options.scripts) and not selftest.passed():
        return 1
    return run_all(chosen, options.repeat)
