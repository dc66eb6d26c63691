#!/usr/bin/env python3
"""Both nodes stopped cleanly and started again, in either order: nothing changes."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail  # noqa: E402


def test(t):
    t.needs_mailfs()
    user = t.pair.user("restart", ("Folder",))
    ids = [t.a.deliver(user, mail.message()) for _ in range(5)]
    before = t.wait_equal(user)
    for order in ((t.a, t.b), (t.b, t.a)):
        for node in order:
            node.stop()
            t.check(not node.mailfs.mounted(), "%s: still mounted after SIGTERM", node.host)
        for node in order:
            node.start()
        t.pair.wait_in_sync()
        view = t.wait_equal(user)
        t.equal(compare.view_difference(before, view), [], "what has changed")
    # mailfs before syncd, and syncd before mailfs: both orders work
    t.a.stop("dovecot", "mailfs", "syncd")
    t.a.start("mailfs", "syncd", "dovecot")
    t.pair.wait_in_sync()
    ids.append(t.a.deliver(user, mail.message()))
    compare.assert_has(t.wait_equal(user), ids, exactly=True)


case.main(test, own=True, postfix=False)
