#!/usr/bin/env python3
"""Both nodes can reach each other again: the node that dials does so at once, not when its waiting is over."""

import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, util  # noqa: E402

TIMES = 5


def opened(node):
    """Connections that were begun there, as the kernel counts them."""
    lines = node.run("cat", "/proc/self/net/snmp").stdout.splitlines()
    names, values = [line.split() for line in lines if line.startswith("Tcp:")]
    return int(values[names.index("ActiveOpens")])


def seconds_until_met(t, what):
    start = util.now()
    what()
    t.pair.wait_in_sync()
    return util.now() - start


def restart(t):
    """The other node's syncd was away, so long that the pauses are long."""
    t.b.stop("syncd")
    t.a.wait_state("alone")
    before = opened(t.a)
    util.poll("some attempts", lambda: opened(t.a) >= before + 6, 20)
    last = opened(t.a)
    util.poll("one more", lambda: opened(t.a) > last, 20)     # the next one is half a second away
    return seconds_until_met(t, lambda: t.b.start("syncd"))


def cut(t):
    t.pair.cut_link(silent=False)
    for node in t.pair.nodes:
        node.wait_state("alone")
    return seconds_until_met(t, t.pair.heal_link)


def test(t):
    t.needs_mailfs()
    restarts = [restart(t) for _ in range(TIMES)]
    t.check(opened(t.b) > 0, "%s, which does not dial, has not knocked", t.b.host)
    cuts = [cut(t) for _ in range(TIMES)]
    t.figure("in-sync after a start: %.2f s, after the link came up: %.2f s (medians of %d)",
             statistics.median(restarts), statistics.median(cuts), TIMES)


if __name__ == "__main__":
    case.main(test, own=True, postfix=False, dovecot=False)
