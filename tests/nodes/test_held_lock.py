#!/usr/bin/env python3
"""The lock held for long in one mailbox holds up no other one, on either node (DESIGN 8.1)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, locks, mail, util  # noqa: E402


HELD = 4


def others(t, other, until):
    """Deliver, copy and flag in another mailbox on both nodes; the longest that took."""
    worst = 0.0
    while util.now() < until:
        for node in t.pair.nodes:
            begun = util.now()
            node.deliver(other, mail.message())
            with node.imap(other, mailbox="INBOX") as client:
                client.copy("1", "Folder")
                client.store("1:*", "+FLAGS", "\\Seen")
            worst = max(worst, util.now() - begun)
    return worst


def test(t):
    t.needs_mailfs()
    user, other = t.pair.user("held", ("Folder",)), t.pair.user("free", ("Folder",))
    ids = [t.a.deliver(user, mail.message()) for _ in range(2)]
    t.wait_equal(user)
    far = mail.message("lock held there")
    ids.append(mail.message_id(far))
    with locks.Holder(t.a, user) as holder:
        start = util.now()
        # LMTP tries the lock only: the mail lands in new/ without a UID, at once
        ids.append(t.a.deliver(user, mail.message("lock held here")))
        took = util.now() - start
        # clients that need the lock wait: their pick-up is a rename that must hold up nobody
        waiting = [util.Thread(lambda n=n: n.imap(user, timeout=50).select()) for n in t.pair.nodes]
        waiting.append(util.Thread(t.b.deliver, user, far))
        worst = others(t, other, start + HELD)
        holder.release()
    for thread in waiting:
        thread.join()
    t.figure("delivery beside the lock %.2f s; others' worst %.2f s", took, worst)
    t.check(took < 2, "the delivery under the lock took %.1f s", took)
    t.check(worst < 2, "another mailbox waited %.1f s", worst)
    view = t.wait_equal(user)
    compare.assert_has(view, ids, exactly=True)
    compare.assert_no_duplicates(view)
    t.wait_equal(other)


case.main(test)
