#!/usr/bin/env python3
"""rm -rf of users through the mount: what is removed stays removed, on both nodes."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def test(t):
    t.needs_mailfs()
    start = util.now()
    for node, other in ((t.a, t.b), (t.b, t.a)) * 2:
        user = t.pair.user("gone", ("Work", "Work.Old", "Sent"))
        with t.a.imap(user) as client:
            for n in range(4):
                client.append("Work", mail.message("work %d" % n))
                client.append("INBOX", mail.message("in %d" % n))
            client.append("Work.Old", mail.message("old"))
            client.append("Sent", mail.message("sent"))
        t.wait_equal(user)
        node.run("rm", "-rf", node.home(user))
        t.pair.wait_path(other, user, there=False, timeout=5)
        t.check(not os.path.exists(node.stored(user)), "%s has it again", node.host)
    t.equal([node.state() for node in t.pair.nodes], ["in-sync"] * 2, "states")
    t.figure("4 users in %.1f s", util.now() - start)


case.main(test)
