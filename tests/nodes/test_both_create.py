#!/usr/bin/env python3
"""The same things made on both nodes at once: users, folders, subscriptions."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def first_mail(t, name):
    """A mailbox nobody has seen before, first mail at both nodes at once."""
    texts = [mail.message("first"), mail.message("first too")]
    util.parallel(lambda: t.a.deliver(name, texts[0]), lambda: t.b.deliver(name, texts[1]))
    view = t.wait_equal(name)
    compare.assert_has(view, [mail.message_id(x) for x in texts], exactly=True)
    compare.assert_no_duplicates(view)


def make(t, client, other):
    for name in ("Sent", "Drafts", other):
        try:
            client.create(name)
        except util.Fail as error:
            # the other node was first, and that was seen here already
            t.check("exists" in str(error).lower(), "%s", error)
        client.subscribe(name)


def test(t):
    # a mailbox that both made has had two of them: one must change
    t.forgive(r"UIDVALIDITY changed")
    for i in range(5):
        first_mail(t, "anew-%d-%d" % (os.getpid(), i))
    user = t.pair.user("both")
    with t.a.imap(user) as on_a, t.b.imap(user) as on_b:
        util.parallel(lambda: make(t, on_a, "OfA"), lambda: make(t, on_b, "OfB"))
        util.parallel(lambda: on_a.append("Sent", mail.message("a")),
                      lambda: on_b.append("Sent", mail.message("b")))
    view = t.wait_equal(user)
    t.equal(sorted(view["folders"]), ["Drafts", "INBOX", "OfA", "OfB", "Sent"], "folders")
    t.equal(view["subscribed"], ["Drafts", "OfA", "OfB", "Sent"], "subscribed")
    t.equal(len(view["folders"]["Sent"][1]), 2, "messages in Sent")


case.main(test)
