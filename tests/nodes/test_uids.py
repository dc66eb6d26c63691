#!/usr/bin/env python3
"""Mail by SMTP into node a's Postfix and node b's; the same messages under the same UIDs."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def test(t):
    user = t.pair.user("uids")
    ids = []
    for i in range(10):
        text = mail.message("number %d" % i, size=2000)
        ids.append(mail.message_id(text))
        (t.a if i % 2 else t.b).smtp(user, text)
    start = util.now()
    for node in t.pair.nodes:
        node.postfix.wait_delivered()
    view = t.wait_equal(user)
    t.figure("10 messages equal on both after %.2f s", util.now() - start)
    compare.assert_has(view, ids, exactly=True)
    compare.assert_no_duplicates(view)
    t.equal(sorted(view["folders"]["INBOX"][1]), list(range(1, 11)), "UIDs")


case.main(test)
