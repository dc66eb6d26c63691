#!/usr/bin/env python3
"""A source cannot read a message that its standby lacks: the standby has all else, and gets it when it can be read."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402


def in_sync(pair):
    pair.a.wait_link(pair.b)
    pair.b.wait_link(pair.a)


def told(pair, count):
    """By the source, of its standby."""
    util.poll(lambda: "%d messages that cannot be read: %s" % (count, pair.a.status()), lambda: [
        u["node"] for u in (pair.a.status() or {}).get("unread") or []] == [pair.b.host] * count, 15)


def names(node, user):
    return {n.split(":")[0] for d in ("new", "cur") for n in os.listdir(node.stored(user, "Maildir", d))}


def story(t, pair, disk):
    user = pair.user("unread")
    sent = [pair.a.deliver(user, mail.message())]
    in_sync(pair)
    pair.b.stop("syncd")
    before = names(pair.a, user)
    sent.append(pair.a.deliver(user, mail.message()))
    bad = (names(pair.a, user) - before).pop()
    disk.unreadable(bad.split(",")[0])
    pair.b.start("syncd")
    told(pair, 1)
    in_sync(pair)
    sent.append(pair.a.deliver(user, mail.message()))
    util.poll("all else on the standby", lambda: names(pair.b, user) == names(pair.a, user) - {bad})
    in_sync(pair)
    uid = [u for u, n in compare.parse_uidlist(pair.a.stored(user, "Maildir", "dovecot-uidlist"))[2].items() if n == bad]
    pair.a.stop("syncd")
    pair.a.start("syncd")
    told(pair, 1)
    in_sync(pair)
    t.equal([u for u, n in compare.parse_uidlist(pair.a.stored(user, "Maildir", "dovecot-uidlist"))[2].items()
             if n == bad], uid, "its UID")
    t.check(bad not in names(pair.b, user) and bad in names(pair.a, user), "where it is")
    disk.disarm()
    pair.b.stop("syncd")
    pair.b.start("syncd")
    told(pair, 0)
    in_sync(pair)
    compare.wait_alike(pair.a, pair.b, user)
    compare.assert_has(compare.user_view(pair.a, user), sent, exactly=True)


def test(t):
    t.needs_mailfs()
    with points.armed("unread") as directory, Pair(timeout=2, postfix=False, start=False) as pair:
        try:
            pair.a.mailfs.write(links=[("standby", pair.b)])
            pair.b.mailfs.write(mode="standby", links=[("source", pair.a)])
            every = {(n, d): points.Points(directory, n, d) for n in pair.nodes for d in points.PROGRAMS}
            util.parallel(*(n.start for n in pair.nodes))
            in_sync(pair)
            story(t, pair, every[pair.a, "syncd"])
        except BaseException:
            pair.report_failure()
            raise


case.main(test, own="none", seconds=120)
