#!/usr/bin/env python3
"""A message so large, over a link so slow, that a stuck syncd would have been given up long before: its
delivery waits for the other node."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, relay, util  # noqa: E402

TIMEOUT = 2
SIZE, RATE = 52 << 20, 2 << 20  # 26 s: more than ten timeouts


def test(t):
    t.needs_mailfs()
    with relay.between(t.pair) as link:
        user = t.pair.user("large")
        t.a.deliver(user, mail.message("first"))
        text = mail.message("large", size=SIZE)
        link.rate = RATE
        start = util.now()
        t.a.deliver(user, text, timeout=110)
        took = util.now() - start
        link.rate = None
        t.figure("%d MiB after %.1f s", SIZE >> 20, took)
        t.check(took > 10 * TIMEOUT, "it did not wait for the peer: %.1f s", took)
        t.equal(t.a.state(), "in-sync", "a slow link is one that is there")
        with open(t.a.log("mailfs"), errors="replace") as f:
            t.check("does not answer" not in f.read(), "syncd was given up while it sent a message")
        compare.assert_has(t.wait_equal(user), [mail.message_id(text)])


case.main(test, own=True, seconds=150, timeout=TIMEOUT)
