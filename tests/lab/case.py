"""What a test script is: a function with a Test, and case.main() at its end.

    from lab import case

    def test(t):
        user = t.pair.user("flags")
        ...

    case.main(test)

It prints one line, PASS, FAIL or SKIP with the name, the time and, where there is one, a
figure; exit 0, 1 or 77.  After a failure it shows both nodes' status and what their logs
said since the test began.  By itself a script brings up a pair of its own; under the runner
it uses the runner's, unless it asks for its own because of what it does to it.
A test also fails when a log of Dovecot tells of damage, or a sanitizer has spoken.
"""

import os
import re
import signal
import sys
import threading
import time
import traceback

from . import compare, mailfs, rundir, util
from .pair import Pair

PASS, FAIL, SKIP = 0, 1, 77
DEADLINE = 60

# Dovecot's words for a store that was not as it must be (see its lib-storage/index/maildir)
DAMAGE = re.compile(r"Panic:|Fatal: master|killed with signal|Corrupted|corrupted|"
                    r"Expunged message reappeared|Duplicate file entry|Fixed a duplicate|"
                    r"UIDVALIDITY changed|uidlist: .*(lowered|renumber|broken|shrank)|"
                    r"Cached message size|Maildir filename has wrong|Broken file|"
                    r"Invalid data|Out of memory|assertion failed|Assertion|"
                    r"unexpectedly (lost|shrank)|Unexpected")
SANITIZER = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|"
                       r"Assertion .* failed|double free|corrupted size")


class Test:
    """Handed to the test function."""

    def __init__(self, name, pair):
        self.name, self.pair = name, pair
        self.a, self.b = (pair.a, pair.b) if pair else (None, None)
        self.figures, self.forgiven = [], []
        self.offsets = {p: os.path.getsize(p) for p in pair.logs()} if pair else {}

    def figure(self, text, *args):
        """Something measured; shown in the result line."""
        self.figures.append(text % args if args else text)

    def check(self, condition, text, *args):
        if not condition:
            raise util.Fail(text % args if args else text)

    def equal(self, got, want, what):
        if got != want:
            raise util.Fail("%s: got %r, want %r" % (what, got, want))

    def wait_equal(self, user, **kwargs):
        return compare.wait_equal(self.pair, user, **kwargs)

    def forgive(self, pattern):
        """Lines like this in Dovecot's log are expected in this test."""
        self.forgiven.append(re.compile(pattern))

    def needs_mailfs(self):
        if mailfs.backend() == "shared":
            raise util.Skip("needs the mailfs backend")

    def check_logs(self):
        for path in self.pair.logs() if self.pair else []:
            name = os.path.basename(path)
            pattern = DAMAGE if name == "dovecot.log" else SANITIZER if name in (
                "mailfs.log", "syncd.log") else None
            for line in util.tail(path, self.offsets.get(path, 0), 100000) if pattern else []:
                if pattern.search(line) and not any(f.search(line) for f in self.forgiven):
                    raise util.Fail("%s says: %s" % (os.path.relpath(path, self.pair.run_dir),
                                                     line[:400]))


def _on_alarm(_number, _frame):
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and thread.ident in frames:
            print("    thread %s:" % thread.name)
            print("".join(traceback.format_stack(frames[thread.ident])[-4:]))
    raise util.Fail("not finished after %d s" % DEADLINE)


def _on_pair(function, test):
    try:
        function(test)
        test.check_logs()
    except (util.Skip, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        _explain(test)
        raise


def _explain(test):
    print("    run directory: " + test.pair.run_dir)
    for f in traceback.extract_tb(sys.exc_info()[2]):
        if os.path.basename(f.filename).startswith("test_"):
            print("    at %s:%d: %s" % (os.path.basename(f.filename), f.lineno, f.line))
    signal.alarm(0)
    test.pair.report_failure(test.offsets)


def _run(function, name, own, options):
    """The test on its pair; returns (code, test or reason)."""
    shared = os.environ.get("LAB_PAIR") if not own else None
    test = Test(name, None)
    try:
        if own == "none":
            function(test)
            return PASS, test
        with (Pair.attach(shared) if shared else Pair(**options)) as pair:
            test = Test(name, pair)
            _on_pair(function, test)
        return PASS, test
    except util.Skip as reason:
        return SKIP, reason
    except util.Fail as reason:
        return FAIL, reason
    except (OSError, AssertionError, ValueError, KeyError, IndexError, TypeError,
            AttributeError) as error:
        traceback.print_exc(file=sys.stdout)
        return FAIL, "%s: %s" % (type(error).__name__, error)


def main(function, own=False, seconds=DEADLINE, **options):
    """Run one test and exit.  own: True for a pair of its own, "none" for none at all."""
    global DEADLINE
    DEADLINE = seconds
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    if os.geteuid() != 0:
        print("SKIP %s: must be root (namespaces, mounts)" % name)
        sys.exit(SKIP)
    rundir.end_on_signals()
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.alarm(seconds)
    start = time.monotonic()
    try:
        code, said = _run(function, name, own, options)
    except KeyboardInterrupt:
        code, said = FAIL, "interrupted"
    except SystemExit as end:
        code, said = FAIL, "ended by signal %d" % (end.code - 128)
    took = time.monotonic() - start
    word = {PASS: "PASS", FAIL: "FAIL", SKIP: "SKIP"}[code]
    text = "; ".join(said.figures) if code == PASS else str(said)
    print("%s %-28s %5.1f s%s" % (word, name, took, "  " + text if text else ""), flush=True)
    # daemon threads stuck in a dead mount must not keep the script
    os._exit(code)
