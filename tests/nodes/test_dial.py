#!/usr/bin/env python3
"""Both nodes can reach each other again: the node that dials does so at once, not when its waiting is over."""

import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, util  # noqa: E402

TIMES = 3
PAUSES = 2      # that are measured each time


def counted(node, protocol, name):
    lines = node.run("cat", "/proc/self/net/snmp").stdout.splitlines()
    names, values = [line.split() for line in lines if line.startswith(protocol + ":")]
    return int(values[names.index(name)])


def attempts(node):
    """Connections that were begun there, or could not even be for want of a route, as the kernel counts them."""
    return counted(node, "Tcp", "ActiveOpens") + counted(node, "Ip", "OutNoRoutes")


def next_attempt(node):
    """When it was seen: looked for without a pause of our own, so a look's time late at most."""
    before, until = attempts(node), util.now() + 20
    while attempts(node) == before:
        if util.now() > until:
            raise util.Fail("%s does not dial" % node.host)
    return util.now()


def alone(t):
    """Until the pauses are as long as they get: how long some are, and when the last attempt was."""
    t.a.wait_state("alone")
    before = attempts(t.a)
    util.poll("some attempts", lambda: attempts(t.a) >= before + 6, 20)
    seen = [next_attempt(t.a) for _ in range(1 + PAUSES)]
    return [later - earlier for earlier, later in zip(seen, seen[1:])], seen[-1]


def met(t, part, what, cases):
    """What ends the separation comes just after an attempt, so the next one is a whole pause away."""
    all_pauses, took = [], []
    for begin, end in cases:
        begin()
        pauses, last = alone(t)
        end()
        t.pair.wait_in_sync()
        took.append(util.now() - last)
        all_pauses += pauses
    t.figure("in-sync %.2f s after the last attempt before %s (median of %d), pauses up to %.2f s",
             statistics.median(took), what, len(took), max(all_pauses))
    t.check(statistics.median(took) < max(all_pauses) / 2,      # half of a pause is chance
            "%s: the peer was dialled when the pause was over, not at once: %s; pauses %s", part,
            took, all_pauses)


def test(t):
    t.needs_mailfs()
    met(t, "restart", "a start", [(lambda: t.b.stop("syncd"), lambda: t.b.start("syncd"))] * TIMES)
    t.check(attempts(t.b) > 0, "%s, which does not dial, has not knocked", t.b.host)
    met(t, "cut", "the link came up", [(lambda: t.pair.cut_link(silent=False), t.pair.heal_link)] * TIMES)


if __name__ == "__main__":
    case.main(test, own=True, postfix=False, dovecot=False)
