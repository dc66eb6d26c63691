#!/usr/bin/env python3
"""APPEND with INTERNALDATE, flags and keywords."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail  # noqa: E402


DATE = "17-Feb-1999 13:14:15 +0000"


def test(t):
    user = t.pair.user("append", ("Sent",))
    texts = [mail.message("append %d" % i, size=4000) for i in range(3)]
    with t.a.imap(user) as client:
        client.append("Sent", texts[0], "\\Seen", DATE)
        client.append("INBOX", texts[1], "\\Seen \\Flagged Important")
    t.wait_equal(user)
    with t.b.imap(user) as client:
        client.append("Sent", texts[2], "", DATE)
    view = t.wait_equal(user)
    sent = view["folders"]["Sent"][1]
    t.equal([r[1] for r in sent.values()], [mail.message_id(texts[0]), mail.message_id(texts[2])], "Sent")
    for row in sent.values():
        t.equal(row[3], DATE, "INTERNALDATE")
    t.equal(set(view["folders"]["INBOX"][1][1][0]), {"\\Seen", "\\Flagged", "Important"}, "flags")


case.main(test)
