#!/usr/bin/env python3
"""Keywords from both nodes; beyond Dovecot's 26 letters nothing may be damaged."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def settled(clients):
    """The first 26 keywords are right, whatever became of those that only an index knows."""
    for client in clients:
        client.noop()
        got = [client.flags(u) for u in (1, 2, 3, 4)]
        if "Red" not in got[0] or "Blue" in got[1] or len(got[2]) != 8 or len(got[3]) != 8:
            return False
        if not {"c%02d" % i for i in range(7)} <= got[0]:
            return False
    return True


def test(t):
    user = t.pair.user("keyword")
    for _ in range(4):
        t.a.deliver(user, mail.message())
    with t.a.imap(user, mailbox="INBOX") as on_a, t.b.imap(user) as on_b:
        util.poll("4 messages on b", lambda: on_b.select()["exists"] == 4)
        on_a.store("1", "+FLAGS", "Red $Forwarded")
        on_b.store("2", "+FLAGS", "Blue")
        # both at once, new names each: the letters must not be given twice
        util.parallel(lambda: [on_a.store("3", "+FLAGS", "a%d" % i) for i in range(8)],
                      lambda: [on_b.store("4", "+FLAGS", "b%d" % i) for i in range(8)])
        view = t.wait_equal(user)
        rows = view["folders"]["INBOX"][1]
        t.equal(set(rows[1][0]), {"Red", "$Forwarded"}, "keywords of UID 1")
        t.equal(set(rows[2][0]), {"Blue"}, "keywords of UID 2")
        t.equal(set(rows[3][0]), {"a%d" % i for i in range(8)}, "keywords of UID 3")
        t.equal(set(rows[4][0]), {"b%d" % i for i in range(8)}, "keywords of UID 4")
        # 19 so far; 26 fit into file names, the rest lives in a node's own index
        on_a.store("1", "+FLAGS", " ".join("c%02d" % i for i in range(12)))
        on_b.store("2", "+FLAGS", "d0 d1 d2")
        on_a.store("2", "-FLAGS", "Blue")
        util.poll("the first 26 keywords right on both", lambda: settled((on_a, on_b)))


case.main(test)
