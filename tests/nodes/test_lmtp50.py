#!/usr/bin/env python3
"""One LMTP transaction with 50 recipients: one body, 50 mailboxes, on both nodes."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


COUNT = 50


def test(t):
    users = ["fifty-%d-%d" % (os.getpid(), i) for i in range(COUNT)]
    ids = []
    for node in (t.a, t.b):
        text = mail.message("to all", size=5000)
        ids.append(mail.message_id(text))
        start = util.now()
        replies = node.lmtp(users, text, timeout=50)
        t.figure("at %s %.2f s", node.host, util.now() - start)
        bad = [r for r in replies if not r.startswith("250")]
        t.check(not bad, "%d of %d refused: %s", len(bad), COUNT, bad[:1])
    for user in users:
        view = t.wait_equal(user)
        compare.assert_has(view, ids, exactly=True)
        compare.assert_no_duplicates(view)


case.main(test)
