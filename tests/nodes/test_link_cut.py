#!/usr/bin/env python3
"""The link goes silent: no client waits longer than the timeout, and that once."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


TIMEOUT = 3


def work(node, user, client):
    """Four deliveries and four STOREs: (seconds of each, the Message-IDs)."""
    times, ids = [], []
    for i in range(4):
        start = util.now()
        ids.append(node.deliver(user, mail.message("alone %d" % i)))
        times.append(util.now() - start)
        start = util.now()
        client.store("1", "+FLAGS", "\\Flagged" if i % 2 else "\\Answered")
        times.append(util.now() - start)
    return times, ids


def judge(t, node, times):
    t.figure("%s: longest wait %.1f s", node.host, max(times))
    t.check(max(times) < TIMEOUT + 2, "%s: an operation took %.1f s", node.host, max(times))
    slow = [x for x in times if x > 1]
    t.check(len(slow) <= 1, "%s waited more than once: %s", node.host, slow)
    node.wait_state("alone")
    # another mailbox does not wait at all any more
    start = util.now()
    node.deliver("cutnew-%d-%s" % (os.getpid(), node.letter), mail.message())
    t.check(util.now() - start < 1.5, "%s: a new user's mail took %.1f s", node.host,
            util.now() - start)


def test(t):
    t.needs_mailfs()
    users = {node: t.pair.user("cut" + node.letter) for node in t.pair.nodes}
    for user in users.values():
        for _ in range(3):
            t.a.deliver(user, mail.message("before"))
        t.wait_equal(user)
    clients = {n: n.imap(users[n], mailbox="INBOX") for n in t.pair.nodes}
    t.pair.cut_link(silent=True)
    results = util.parallel(*(lambda n=n: work(n, users[n], clients[n]) for n in t.pair.nodes))
    for node, (times, _ids) in zip(t.pair.nodes, results):
        judge(t, node, times)
    start = util.now()
    t.pair.heal_link()
    t.pair.wait_in_sync()
    # each user was touched on one side only: both sides become the same
    for node, (_times, ids) in zip(t.pair.nodes, results):
        view = t.wait_equal(users[node])
        compare.assert_has(view, ids)
        compare.assert_no_duplicates(view)
        rows = view["folders"]["INBOX"][1]
        t.equal(len(rows), 7, "messages of " + users[node])
        t.check({"\\Flagged", "\\Answered"} <= set(rows[1][0]), "flags lost")
        t.wait_equal("cutnew-%d-%s" % (os.getpid(), node.letter))
    t.figure("equal %.1f s after healing", util.now() - start)
    for client in clients.values():
        client.close()


case.main(test)
