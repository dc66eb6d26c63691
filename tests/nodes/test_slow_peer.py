#!/usr/bin/env python3
"""A peer slower than its deliveries: they wait, memory does not grow; then one that hears nothing."""

import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, relay, util  # noqa: E402


SIZE, COUNT, RATE = 1 << 20, 28, 8 << 20
# What a syncd may grow by while 28 MiB are on their way through it: of what is sent it keeps 2 MiB,
# of what has been received and waits for the disk 32 MiB at most, but this disk is fast.
GROWTH = 12 << 20


def peak(node):
    """VmHWM of its syncd, after it was set back."""
    with open("/proc/%d/status" % node.mailfs.syncd.known()[0]) as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) << 10


def peak_reset(node):
    with open("/proc/%d/clear_refs" % node.mailfs.syncd.known()[0], "w") as f:
        f.write("5")


def deliver(t, users, count, size):
    """So many at once, by LMTP at a; ids of those accepted, and the longest time one took."""
    acked, took, lock = [], [], threading.Lock()

    def one(number):
        text = mail.message("slow %d" % number, size=size)
        start = util.now()
        replies = t.a.lmtp(users[number % len(users)], text, timeout=50)
        with lock:
            took.append(util.now() - start)
            t.check(replies[0].startswith("250"), "refused: %s", replies)
            acked.append((users[number % len(users)], mail.message_id(text)))
    threads = [util.Thread(one, number) for number in range(count)]
    for thread in threads:
        thread.join()
    return acked, max(took)


def slow(t, users, link):
    before = [peak_reset(node) or peak(node) for node in t.pair.nodes]
    link.rate = RATE
    acked, worst = deliver(t, users, COUNT, SIZE)
    link.rate = None
    t.figure("%d of 1 MiB at %d MiB/s: the last after %.1f s", COUNT, RATE >> 20, worst)
    t.check(worst > 0.7 * COUNT * SIZE / RATE, "they did not wait for the peer: %.1f s", worst)
    t.equal(t.a.state(), "in-sync", "the slow peer is one that is there")
    for node, was in zip(t.pair.nodes, before):
        grown = peak(node) - was
        t.figure("%s grew by %.1f MiB", node.host, grown / (1 << 20))
        t.check(grown < GROWTH, "%s: syncd grew by %d KiB", node.host, grown >> 10)
    return acked


def deaf(t, users, link):
    """What a sends goes nowhere, and the connection stays."""
    link.swallow = True
    start = util.now()
    acked, worst = deliver(t, users, 8, 1000)
    t.figure("deaf: the last after %.1f s", worst)
    t.equal(t.a.state(), "alone", "a peer that hears nothing")
    # a second for the machine under load
    t.check(util.now() - start < t.pair.options["timeout"] + 5, "took %.1f s", util.now() - start)
    link.swallow = False
    return acked


def test(t):
    t.needs_mailfs()
    with relay.between(t.pair) as link:
        users = [t.pair.user("slow") for _ in range(8)]
        deliver(t, users, 8, 1000)  # what is made once, is
        acked = slow(t, users, link) + deaf(t, users, link)
        t.pair.wait_in_sync(30)
        for user in users:
            view = t.wait_equal(user, timeout=25)
            compare.assert_has(view, [i for u, i in acked if u == user])
            compare.assert_no_duplicates(view)


case.main(test, own=True, seconds=120)
