#!/usr/bin/env python3
"""A node is lost, and a client opens a mailbox on the new one in its place before the mail has come there:
on the node that has the mail nothing is numbered anew."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def opened_alone(t, user, lower):
    """The new node cannot reach a yet, and is used; Dovecot takes the time of day for UIDVALIDITY."""
    util.poll("a UIDVALIDITY above %d" % lower, lambda: time.time() > lower + 2)
    t.pair.cut_link(silent=False)
    t.b.start("syncd", "mailfs", "dovecot")
    new = t.b.deliver(user, mail.message("to the new one"))
    with t.b.imap(user) as client:
        validity = client.select()["uidvalidity"]
        t.equal(list(client.ids().values()), [new], "what the new node shows before it is filled")
    return new, validity


def test(t):
    t.needs_mailfs()
    t.forgive("UIDVALIDITY changed")    # on the new one, as it is to be
    user = t.pair.user("replaced")
    for n in range(3):
        t.a.deliver(user, mail.message("nr %d" % n))
    before = t.wait_equal(user)["folders"]["INBOX"]
    t.pair.replace_b()
    new, higher = opened_alone(t, user, before[0])
    t.check(higher > before[0], "the new node's UIDVALIDITY is no higher: %d, %d", higher, before[0])
    t.pair.heal_link()
    t.pair.wait_in_sync(timeout=30)
    view = t.wait_equal(user)
    validity, rows = view["folders"]["INBOX"]
    t.equal(validity, before[0], "UIDVALIDITY")
    for uid, row in before[1].items():
        t.equal(rows.get(uid), row, "UID %d" % uid)
    compare.assert_has(view, [new], "INBOX")


case.main(test, own=True, postfix=False)
