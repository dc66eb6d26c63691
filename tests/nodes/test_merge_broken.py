#!/usr/bin/env python3
"""A merge of many mailboxes is broken off by a cut link, by a stop, and by the death of either syncd or both; it goes on."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, crowd, follow, relay, storm, util  # noqa: E402

COUNT = 80
# Bytes a second that the link carries while they are merged: some 20 kB have been sent when the strike comes.
RATE = 200000


def strike(t, what):
    """Break it off; the way back."""
    if what == "link":
        t.pair.cut_link(silent=True)
        return t.pair.heal_link
    nodes = {"a": [t.a], "b": [t.b], "both": [t.a, t.b], "stop": [t.a, t.b]}[what]
    for node in nodes:
        if what == "stop":
            stop(t, node)
        else:
            node.kill("syncd")
    return lambda: [node.start("syncd") for node in nodes]


def stop(t, node):
    """What is under way is ended, not left to crash on what has been closed."""
    node.daemon("syncd").stop()
    last = util.tail(node.log("syncd"), 0, 1)
    t.check("stopped" in last[-1], "%s: mailfs-syncd has not stopped by itself; its last words: %s", node.host, last)


def midst(t, since):
    """Wait until some mailboxes are merged."""
    util.poll("some mailboxes merged", lambda: len(crowd.merged(t, since)) > 5, 30, 0.005)


def round_of(t, users, back, what, link):
    """Mail for everybody at both nodes, contact, and then the strike; (Message-IDs, way back, how far it was)."""
    for node in t.pair.nodes:
        if node.daemon("syncd").running():
            node.wait_state("alone")
    sent = util.parallel(*(lambda n=n: crowd.everyone(n, users, "before " + what) for n in t.pair.nodes))
    since = os.path.getsize(t.a.log("syncd"))
    link.rate = RATE
    back()
    midst(t, since)
    back = strike(t, what)
    link.rate = None
    far = len(crowd.merged(t, since))
    t.check(far < COUNT, "%s: all were merged before it: nothing was tested", what)
    return sent, back, "%s after %d" % (what, far)


def test(t):
    t.needs_mailfs()
    users = crowd.users(COUNT, "broken")
    with relay.between(t.pair) as link:
        sent, reached = [crowd.everyone(t.a, users, "first")], []
        crowd.disk_equal(t, users)
        witness = storm.Witness()
        crew = follow.Followers([follow.Follower(node, user, "INBOX", witness)
                                 for node in t.pair.nodes for user in (users[-1], users[COUNT // 2])])
        back = strike(t, "link")
        for what in ("link", "stop", "a", "b", "both"):
            more, back, far = round_of(t, users, back, what, link)
            sent += more
            reached.append(far)
        back()
        t.pair.wait_in_sync(timeout=40)
        crew.end()
        t.figure("of %d: %s", COUNT, ", ".join(reached))
        crowd.disk_equal(t, users)
        for user in users:
            with t.b.imap(user) as client:
                _validity, rows = compare.mailbox_view(client, "INBOX")
            t.equal(sorted(r[1] for r in rows.values()), sorted(ids[user] for ids in sent), "mail of " + user)


case.main(test, own=True, seconds=120)
