#!/usr/bin/env python3
"""b's syncd hangs (SIGSTOP): a waits for the timeout, once, and goes on; then both are equal."""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, crowd, follow, mail, storm, util  # noqa: E402


TIMEOUT = 1     # mailfs gives up a syncd that hangs after ten of these


def hang(t):
    """On both nodes its clients go on; b's mailfs does without it then, and numbers messages itself."""
    node = t.b
    node.mailfs.syncd.kill(signal.SIGSTOP, wait=False)
    return lambda: node.mailfs.syncd.kill(signal.SIGCONT, wait=False)


def lines(node, since, pattern):
    """Of the syncd's log from there on: where it is found."""
    with open(node.log("syncd")) as f:
        f.seek(since)
        return [found.start() for found in re.finditer(pattern, f.read())]


def first_line(node, since, pattern):
    return next(iter(lines(node, since, pattern)), None)


def own_mailfs(t):
    """Its mailfs has given it up, and comes back some seconds later: the peer is not met before that."""
    users = crowd.users(3, "apart")
    for user in users:
        t.a.deliver(user, mail.message("first"))
    t.pair.wait_in_sync()
    witness = storm.Witness()
    crew = follow.Followers([follow.Follower(node, user, "INBOX", witness) for node in t.pair.nodes for user in users])
    since, since_a = (os.path.getsize(node.log("syncd")) for node in (t.b, t.a))
    go_on, ids = hang(t), {user: [] for user in users}

    def deliver(subject):
        for user in users:
            for node in t.pair.nodes:
                ids[user].append(node.deliver(user, mail.message(subject)))
    try:
        deliver("b hangs")
        t.a.wait_state("alone")
        with open(t.b.log("mailfs"), errors="replace") as f:
            t.check("does not answer" in f.read(), "b's mailfs has not given syncd up: nothing was tested")
    finally:
        go_on()
    met_by_a = 0
    while True:
        met = len(lines(t.a, since_a, r"connected with"))
        if first_line(t.b, since, r"mailfs \d+ is connected") is not None:
            break
        met_by_a = met      # by then it had not come
        deliver("b's mailfs is apart")
    t.check(met_by_a <= 1, "a met b %d times while b's mailfs was apart", met_by_a)
    deliver("it is back")
    t.pair.wait_in_sync()
    back, met = (first_line(t.b, since, p) for p in (r"mailfs \d+ is connected", "connected with"))
    t.check(met is not None and met > back, "b met its peer while its mailfs served without it")
    crew.end()
    for user in users:
        compare.assert_has(t.wait_equal(user), ids[user])


def test(t):
    t.needs_mailfs()
    own_mailfs(t)
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
        t.check(len([x for x in times if x > 0.9 * TIMEOUT]) <= 1, "a waited more than once: %s", times)
        t.a.wait_state("alone")
    finally:
        t.b.mailfs.syncd.kill(signal.SIGCONT, wait=False)
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), ids, exactly=True)


case.main(test, own=True, seconds=100, timeout=TIMEOUT)
