#!/usr/bin/env python3
"""A client that IDLEs on b is woken by what happens on a."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail  # noqa: E402


def test(t):
    user = t.pair.user("idle")
    waits = []
    with t.b.imap(user, mailbox="INBOX") as sleeper:
        for number in range(1, 6):
            sleeper.idle()
            t.a.deliver(user, mail.message())
            _text, took = sleeper.idle_wait(rb"\* %d EXISTS" % number)
            waits.append(took)
            sleeper.done()
        with t.a.imap(user, mailbox="INBOX") as other:
            sleeper.idle()
            other.store("1", "+FLAGS", "\\Flagged")
            flag = sleeper.idle_wait(rb"FETCH .*\\Flagged")[1]
            other.store("2", "+FLAGS", "\\Deleted")
            other.expunge()
            gone = sleeper.idle_wait(rb"EXPUNGE")[1]
            sleeper.done()
    t.figure("mail after %.2f-%.2f s, flag %.2f s, expunge %.2f s", min(waits), max(waits), flag, gone)
    # half a second of it is Dovecot's own delay; without the poke it would be 30 s
    t.check(max(waits + [flag, gone]) < 3, "too slow")
    t.wait_equal(user)


case.main(test)
