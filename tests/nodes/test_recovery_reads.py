#!/usr/bin/env python3
"""After a crash the nodes compare what was changed lately, and read no other mailbox of the store."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, crowd, mail, mailfs, reads, util  # noqa: E402

COUNT = 200


def wait_no_marks(t):
    """All is acknowledged and durable; each syncd is stopped, which has it look at once, not within ten seconds."""
    build = os.path.dirname(os.path.realpath(mailfs.bindir()))
    for node in t.pair.nodes:
        node.kill("syncd", signal.SIGTERM)
        node.start("syncd")
    t.pair.wait_in_sync()

    def left():
        return [(node.host, len(node.mailfs.marks(build))) for node in t.pair.nodes if node.mailfs.marks(build)]
    util.poll(lambda: "no mailbox marked: %s" % left(), lambda: not left(), 40)


def directories(node, users):
    return {node.stored(user, "Maildir", part): user for user in users for part in ("cur", "new")}


def recovery(t, users, active, power):
    """Node a dies after a change in one mailbox; another has mail at b meanwhile."""
    wait_no_marks(t)
    want = {active[0]: [t.a.deliver(active[0], mail.message("before it dies"))]}
    t.a.crash(power=power)
    t.b.wait_state("alone")
    want[active[1]] = [t.b.deliver(active[1], mail.message("while a is dead"))]
    t.a.boot()
    places = [directories(node, users) for node in t.pair.nodes]
    with reads.Reads(places[0]) as on_a, reads.Reads(places[1]) as on_b:
        start = util.now()
        t.a.revive()
        t.pair.wait_in_sync()
        took = util.now() - start
        for node, seen, place in zip(t.pair.nodes, (on_a, on_b), places):
            read = {place[path] for path in seen.seen()}
            t.check(set(active) <= read, "%s read only %s of %s", node.host, sorted(read), active)
            more = sorted(read - set(active))
            t.check(not more, "%s read %d of %d mailboxes that nobody had changed: %s", node.host, len(more),
                    len(users), more[:5])
    t.figure("%s: of %d mailboxes %d read, in sync after %.1f s", "power cut" if power else "death",
             len(users), len(active), took)
    for user in active:
        compare.assert_has(t.wait_equal(user), want[user])


def test(t):
    t.needs_mailfs()
    users = crowd.users(COUNT, "quiet")
    crowd.everyone(t.a, users, "before")
    crowd.disk_equal(t, users)
    recovery(t, users, users[10:12], power=False)
    recovery(t, users, users[20:22], power=True)


case.main(test, own=True, postfix=False, disk=96 << 20, seconds=120)
