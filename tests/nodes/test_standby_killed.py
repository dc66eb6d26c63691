#!/usr/bin/env python3
"""A standby's syncd is killed, or its disk is full, in the midst of a merge: what it has by then is not its own."""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

# what the standby's syncd has done of a merge when it dies: operations, class of file, before or after the nth
KILLS = (("link rename", "new", points.KILL_AFTER, 1),
         ("link rename", "new", points.KILL_AFTER, 3),
         ("rename", "dovecot-uidlist", points.KILL_BEFORE, 1),
         ("rename", "dovecot-uidlist", points.KILL_AFTER, 1))


def in_sync(pair):
    pair.a.wait_link(pair.b)
    pair.b.wait_link(pair.a)


def differences(pair, user):
    return compare.tree_difference(compare.tree_view(pair.a, user), compare.tree_view(pair.b, user))


def same(pair, user):
    in_sync(pair)
    util.poll(lambda: "stores of %s alike: %s" % (user, differences(pair, user)),
              lambda: not differences(pair, user), 20)


def remove(node, user, ids):
    with node.imap(user, mailbox="INBOX") as client:
        for uid, message in client.ids().items():
            if message in ids:
                client.store("%d" % uid, "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()


def broken(t, pair, user, what, strike, back):
    """Some comes, and the merge that brings it is broken off; it is removed where it came from."""
    pair.cut_link()
    pair.a.wait_link(pair.b, "alone", timeout=15)
    ids = [pair.a.deliver(user, mail.message(what)) for _ in range(4)]
    strike()
    pair.heal_link()
    points.wait_done(strike.armed, 20)
    remove(pair.a, user, ids)
    back()
    same(pair, user)
    left = compare.count_ids(compare.user_view(pair.a, user))
    t.equal([i for i in ids if i in left], [], "removed, and back after " + what)


class Strike:
    def __init__(self, armed, *where, **how):
        self.armed, self.where, self.how = armed, where, how

    def __call__(self):
        self.armed.arm(*self.where, **self.how)


def story(t, directory):
    with Pair(timeout=2, postfix=False, start=False) as pair:
        try:
            pair.a.mailfs.write(links=[("standby", pair.b)])
            pair.b.mailfs.write(mode="standby", links=[("source", pair.a)])
            every = {(n, d): points.Points(directory, n, d) for n in pair.nodes for d in points.PROGRAMS}
            armed = every[pair.b, "syncd"]
            util.parallel(*(n.start for n in pair.nodes))
            in_sync(pair)
            user = pair.user("broken")
            pair.a.deliver(user, mail.message("before"))
            same(pair, user)

            def again():
                armed.disarm()
                pair.b.start("syncd")
            for op, cls, when, nth in KILLS:
                what = "killed at %s of %s, %d" % (op, cls, nth)
                broken(t, pair, user, what, Strike(armed, when, op=op, cls=cls, nth=nth), again)
            broken(t, pair, user, "a full disk",
                   Strike(armed, points.FAIL, op="link rename", cls="new", nth=2, times=1000, error=errno.ENOSPC),
                   armed.disarm)
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    t.forgive(r"killed with signal 9")
    with points.armed("standby") as directory:
        story(t, directory)


case.main(test, own="none", seconds=120)
