#!/usr/bin/env python3
"""b's syncd hangs (SIGSTOP): a waits for the timeout, once, and goes on; then both are equal."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


import signal  # noqa: E402

TIMEOUT = 3


def test(t):
    t.needs_mailfs()
    user = t.pair.user("frozen")
    ids = [t.a.deliver(user, mail.message()) for _ in range(2)]
    t.wait_equal(user)
    t.b.mailfs.syncd.kill(signal.SIGSTOP, wait=False)
    try:
        times = []
        for _ in range(4):
            start = util.now()
            ids.append(t.a.deliver(user, mail.message("b hangs")))
            times.append(util.now() - start)
        t.figure("longest wait on a %.1f s", max(times))
        t.check(max(times) < TIMEOUT + 2, "a delivery on a took %.1f s", max(times))
        t.check(len([x for x in times if x > 1]) <= 1, "a waited more than once: %s", times)
        t.a.wait_state("alone")
    finally:
        t.b.mailfs.syncd.kill(signal.SIGCONT, wait=False)
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), ids, exactly=True)


case.main(test)
