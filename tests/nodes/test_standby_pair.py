#!/usr/bin/env python3
"""A pair with a standby: it has what either did, also when one dies, or both and it takes over."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def differences(t, node, user):
    a, c = compare.tree_view(node, user), compare.tree_view(t.pair.c, user)
    return {k: (a.get(k), c.get(k)) for k in sorted(set(a) | set(c)) if a.get(k) != c.get(k)}


def wait_same(t, node, user):
    util.poll(lambda: "%s on %s and mx-c: %s" % (user, node.host, differences(t, node, user)),
              lambda: not differences(t, node, user), 30)


def act(node, user):
    node.deliver(user, mail.message("on " + node.host))
    with node.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Seen")
        client.store("*", "+FLAGS", "\\Flagged")
        client.logout()


def test(t):
    t.needs_mailfs()
    c = t.pair.c
    user = t.pair.user("trio", folders=("Sent",))
    t.pair.wait_in_sync()
    for node in (t.a, t.b, t.a):
        act(node, user)
    wait_same(t, t.a, user)
    t.wait_equal(user)
    # one of the pair dies: the other goes on, and feeds c
    t.a.crash(silent=True)
    t.b.space.drop(False)
    t.b.wait_state("alone")
    c.wait_link(t.a, "alone", timeout=15)
    act(t.b, user)
    wait_same(t, t.b, user)
    t.a.revive()
    t.pair.wait_in_sync()
    act(t.a, user)
    t.wait_equal(user)
    wait_same(t, t.a, user)
    # both of the pair die: c takes over, and they follow it
    before = compare.user_view(t.b, user, bodies=False)
    t.a.crash(silent=False)
    t.b.crash(silent=False)
    for node in t.pair.nodes:
        c.wait_link(node, "alone", timeout=15)
    c.mailfs.ctl("promote")
    act(c, user)
    t.a.revive()
    t.b.revive()
    for node in t.pair.nodes:
        util.poll(node.host + " is a standby", lambda n=node: (n.status() or {}).get("role") == "standby",
                  20)
    t.pair.wait_in_sync()
    for node in t.pair.nodes:
        wait_same(t, node, user)
    now = compare.user_view(c, user, bodies=False)
    for folder, (validity, rows) in before["folders"].items():
        t.equal(now["folders"][folder][0], validity, "UIDVALIDITY of " + folder)
        for uid, row in rows.items():
            t.equal(now["folders"][folder][1][uid][1], row[1], "%s UID %d" % (folder, uid))


case.main(test, own=True, seconds=120, standby=True)
