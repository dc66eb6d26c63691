#!/usr/bin/env python3
"""commit = memory and commit = async: the same mail on both nodes, sooner."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, pair, util  # noqa: E402


def deliver(both, user, count=50):
    start = util.now()
    ids = [both.a.deliver(user, mail.message(size=2000)) for _ in range(count)]
    took = util.now() - start
    compare.assert_has(compare.wait_equal(both, user), ids, exactly=True)
    return took


def test(t):
    t.needs_mailfs()
    for mode in ("disk", "memory", "async"):
        with pair.Pair(commit=mode, postfix=False) as both:
            t.figure("50 deliveries, %s: %.2f s", mode, deliver(both, both.user("mode")))


case.main(test, own="none")
