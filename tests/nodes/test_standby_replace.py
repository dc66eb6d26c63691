#!/usr/bin/env python3
"""A node of a pair is lost for good, while the two were apart: a new one takes its place, then, when that is
lost as well, the standby does. What the lost node had acknowledged, and the standby had, is not lost."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


QUIET = "quiet"


def apart(t):
    t.a.deaf(t.b)
    t.b.deaf(t.a)
    for node in t.pair.nodes:
        node.wait_state("alone", timeout=15)


def folders_only_there(t):
    """Of one who has nothing else there: made on a alone, and on the standby; with mail, and without."""
    with t.a.imap(QUIET) as client:
        for folder in ("Filed", "Empty"):
            client.create(folder)
        client.append("Filed", mail.message("in a folder of a"))
        client.logout()
    same(t.a, t.pair.c, QUIET)


def only_there(t, user):
    """Acknowledged by a alone, seen there, and on the standby."""
    ids = [t.a.deliver(user, mail.message("only on a")) for _ in range(2)]
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("*", "+FLAGS", "\\Flagged")
        client.append("Work", mail.message("filed on a"), "\\Seen")
        client.logout()
    seen = compare.user_view(t.a, user, bodies=False)
    same(t.a, t.pair.c, user)
    return ids, seen


def tree_difference(one, other, user):
    return compare.tree_difference(compare.tree_view(one, user), compare.tree_view(other, user))


def same(one, other, user):
    util.poll(lambda: "%s on %s and %s: %s" % (user, one.host, other.host, tree_difference(one, other, user)),
              lambda: not tree_difference(one, other, user), 20)


def goes_on(node, user):
    """Mail comes, and some that all three had goes."""
    ids = [node.deliver(user, mail.message("at " + node.host))]
    with node.imap(user, mailbox="INBOX") as client:
        first, second = sorted(client.uids())[:2]
        client.store("%d" % first, "+FLAGS", "\\Deleted")
        client.expunge()
        client.store("%d" % second, "+FLAGS", "\\Answered")
        client.logout()
    return ids, compare.user_view(node, user, bodies=False)


def settled(t, one, other, user, ids, gone, before, *seen):
    """All is on both. What was there before is under the UID that it had; one that was given while they were
    apart names that message, or nothing; and what was removed is gone."""
    for node in (one, other):
        node.wait_state("in-sync", timeout=30)
    compare.wait_has(one, user, ids, 20)
    same(one, other, user)
    view = compare.user_view(one, user, bodies=False)
    t.equal(compare.view_difference(view, compare.user_view(other, user, bodies=False)), [], "what clients see")
    compare.assert_has(view, ids)
    compare.assert_no_duplicates(view)
    t.check(gone not in compare.count_ids(view), "what was removed is back: %s", gone)
    for shown in (before,) + seen:
        for folder, (validity, rows) in shown["folders"].items():
            now_validity, now = view["folders"][folder]
            t.equal(now_validity, validity, "UIDVALIDITY of " + folder)
            for uid, row in rows.items():
                t.check(row[1] == gone or (uid in now or shown is not before) and (
                    uid not in now or now[uid][1] == row[1]), "%s UID %d: was %s, is %s", folder, uid, row,
                        now.get(uid))
    return view


def follows(node, user, gone):
    """What has been done where mail goes on is on the standby's disk, too."""
    cur = node.stored(user, "Maildir", "cur")

    def there():
        for name in os.listdir(cur):
            with open(os.path.join(cur, name), "rb") as f:
                if gone.encode() in f.read():
                    return True
        return False
    util.poll("%s: %s gone" % (node.host, gone), lambda: not there(), 20)


def first_of(view):
    rows = view["folders"]["INBOX"][1]
    return rows[min(rows)][1]


def lose_a(t, user, ids):
    """a has something alone when it is lost; b goes on, c follows both.  What went, and what each showed last."""
    for node in t.pair.nodes:   # what is to be removed at b is known to be b's, too
        node.wait_link(t.pair.c)
        t.pair.c.wait_link(node)
    apart(t)
    more, seen_a = only_there(t, user)
    gone = first_of(seen_a)
    t.a.destroy()
    late, seen_b = goes_on(t.b, user)
    follows(t.pair.c, user, gone)
    ids += more + late
    ids.remove(gone)
    return gone, seen_a, seen_b


def new_node(t, user, ids, before):
    """A new machine gets the name of the lost one; the other two are told its fingerprint."""
    a, b, c = t.a, t.b, t.pair.c
    gone, seen_a, seen_b = lose_a(t, user, ids)
    a.deaf()
    b.deaf()
    a.mailfs.prepare()
    a.dovecot.prepare()
    for node in (b, c):
        node.stop("syncd")
    t.pair.configure()
    for node in (b, c):
        node.start("syncd")
    a.start()
    view = settled(t, a, b, user, ids, gone, before, seen_a, seen_b)
    for node in (a, b):
        c.wait_link(node)
        same(node, c, user)
    return view


def standby_instead(t, user, ids, before):
    """The lost one is followed no more: what it had goes to the other. Then the standby takes its place."""
    b, c = t.b, t.pair.c
    t.wait_equal(QUIET)
    apart(t)
    folders_only_there(t)
    gone, seen_a, seen_b = lose_a(t, user, ids)
    c.stop("syncd")             # one that has not seen it come
    c.start("syncd")
    c.wait_link(b)
    c.stop("syncd")             # what the links have got is marked no more
    c.mailfs.write(mode="standby", links=[("source", b)])
    c.start("syncd")
    compare.wait_has(b, user, ids, 20)
    same(b, c, user)
    same(b, c, QUIET)
    t.check("Filed" in compare.user_view(b, QUIET)["folders"], "a folder that only the standby had is lost")
    for node in (b, c):
        node.stop("syncd")
    c.stop("dovecot", "mailfs")
    b.mailfs.write(peer=c)
    c.mailfs.write(peer=b)
    b.start("syncd")
    c.start()
    view = settled(t, b, c, user, ids, gone, before, seen_a, seen_b)
    for node in (b, c):             # both serve
        ids.append(node.deliver(user, mail.message("to " + node.host)))
    settled(t, b, c, user, ids, gone, view, seen_a, seen_b)


def test(t):
    t.needs_mailfs()
    user = t.pair.user("lost", folders=("Work",))
    t.pair.user(QUIET)
    ids = [t.a.deliver(user, mail.message("of all three")) for _ in range(4)]
    before = t.wait_equal(user)
    same(t.a, t.pair.c, user)
    before = new_node(t, user, ids, before)
    standby_instead(t, user, ids, before)


case.main(test, own=True, seconds=150, standby=True, postfix=False, timeout=1)
