#!/usr/bin/env python3
"""A message of 25 MiB by SMTP, and one by APPEND."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


SIZE = 25 << 20


def test(t):
    user = t.pair.user("big")
    text = mail.message("big", size=SIZE)
    start = util.now()
    t.a.smtp(user, text)
    t.a.postfix.wait_delivered()
    t.figure("SMTP to mailbox %.1f s", util.now() - start)
    with t.b.imap(user) as client:
        util.poll("the message on b", lambda: client.select()["exists"] == 1)
        t.figure("on b %.1f s", util.now() - start)
        start = util.now()
        client.append("INBOX", mail.message("big by append", size=SIZE))
        t.figure("APPEND %.1f s", util.now() - start)
    t.a.deliver(user, mail.message("small"))
    view = t.wait_equal(user)
    sizes = sorted(int(r[2]) for r in view["folders"]["INBOX"][1].values())
    t.check(len(sizes) == 3 and sizes[1] > SIZE and sizes[0] < 5000, "sizes %s", sizes)


case.main(test)
