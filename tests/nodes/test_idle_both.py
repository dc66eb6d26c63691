#!/usr/bin/env python3
"""Two clients IDLE, one on each node; mail at either wakes both."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail  # noqa: E402


def test(t):
    user = t.pair.user("idleboth")
    worst = 0.0
    with t.a.imap(user, mailbox="INBOX") as on_a, t.b.imap(user, mailbox="INBOX") as on_b:
        for number in range(1, 7):
            on_a.idle()
            on_b.idle()
            (t.a if number % 2 else t.b).deliver(user, mail.message())
            for client in (on_a, on_b):
                worst = max(worst, client.idle_wait(rb"\* %d EXISTS" % number)[1])
            on_a.done()
            on_b.done()
        t.equal(on_a.ids(), on_b.ids(), "what both clients see")
    t.figure("6 mails, worst wake-up %.2f s", worst)
    t.check(worst < 3, "too slow")
    t.wait_equal(user)


case.main(test)
