#!/usr/bin/env python3
"""A peer with another fingerprint than configured is not let in; status says it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def refused(t):
    status = t.a.status() or {}
    return status.get("state") == "alone" and "fingerprint" in (status.get("last_error") or "").lower()


def test(t):
    t.needs_mailfs()
    # the mailbox is made on both, apart
    t.forgive(r"UIDVALIDITY changed")
    right = t.b.mailfs.fingerprint()
    wrong = right[:-8] + ("E" * 8 if not right.endswith("E" * 8) else "I" * 8)
    t.a.mailfs.write(peer=t.b, fingerprint=wrong)
    util.parallel(lambda: t.a.start("syncd", "mailfs", "dovecot"),
                  lambda: t.b.start("syncd", "mailfs", "dovecot"))
    util.poll(lambda: "mx-a alone, last_error about the fingerprint: %s" % t.a.status(),
              lambda: refused(t))
    user = "wrongprint"
    worst = 0
    for node in t.pair.nodes:
        for _ in range(3):
            start = util.now()
            node.deliver(user, mail.message())
            worst = max(worst, util.now() - start)
    t.check(worst < 5, "a delivery took %.1f s", worst)
    t.check(t.a.state() == "alone" and t.b.state() == "alone", "states %s %s", t.a.state(), t.b.state())
    t.equal(len(os.listdir(t.b.stored(user, "Maildir", "new"))), 3, "messages on b")
    # put right, they find together
    t.a.stop("syncd")
    t.a.mailfs.write(peer=t.b)
    t.a.start("syncd")
    t.pair.wait_in_sync()
    view = t.wait_equal(user)
    t.equal(len(view["folders"]["INBOX"][1]), 6, "messages")


case.main(test, own=True, start=False, postfix=False)
