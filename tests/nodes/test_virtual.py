#!/usr/bin/env python3
"""Postfix's virtual(8) writes into the Maildirs itself, on both nodes."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, postfix  # noqa: E402


def test(t):
    user = t.pair.user(name=postfix.VIRTUAL_USERS[os.getpid() % len(postfix.VIRTUAL_USERS)])
    ids = []
    for i in range(10):
        text = mail.message("virtual %d" % i, size=2000)
        ids.append(mail.message_id(text))
        (t.a if i % 2 else t.b).smtp("%s@virtual.test" % user, text)
        if i == 4:
            t.wait_equal(user)     # some are numbered, the rest comes on top
    for node in t.pair.nodes:
        node.postfix.wait_delivered()
    view = t.wait_equal(user)
    compare.assert_has(view, ids, exactly=True)
    compare.assert_no_duplicates(view)
    with open(t.a.log("postfix")) as f:
        t.check(("to=<%s@virtual.test>, relay=virtual" % user) in f.read(), "virtual(8) did not deliver")


case.main(test)
