#!/usr/bin/env python3
"""b's disk is full: mail at a goes on, Postfix of b defers and bounces nothing, and b catches up when there is space."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, disk, mail, util  # noqa: E402


SIZE = 48 << 20


def small_disk(node):
    """A file system of its own for this node's store."""
    disk.ext4_at(node.store, os.path.join(node.dir, "disk.image"), SIZE)
    os.chown(node.store, 5000, 5000)


def kept(node):
    return [n for _d, _s, names in os.walk(os.path.join(node.store, ".mailfs", "undo")) for n in names]


def expunged(t, user, ids):
    """One message goes, and is kept on both nodes."""
    with t.a.imap(user, mailbox="INBOX") as client:
        gone = client.ids()[1]
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()
    ids.remove(gone)
    t.wait_equal(user)
    t.equal([len(kept(node)) for node in t.pair.nodes], [1, 1], "kept")


def deliver(t, user):
    """Ten mails at a while b is full."""
    times, ids = [], []
    for _ in range(10):
        start = util.now()
        ids.append(t.a.deliver(user, mail.message("b is full", size=200000)))
        times.append(util.now() - start)
    t.figure("longest delivery at a %.1f s", max(times))
    t.check(max(times) < 5, "a delivery at a took %.1f s", max(times))
    t.check(len([x for x in times if x > 1]) <= 1, "a waited more than once: %s", times)
    return ids


def into_full(t, users):
    """Mail to b by both ways of delivery, which it has no room for; the Message-IDs by user."""
    since, ids = os.path.getsize(t.b.postfix.log), {}
    for user, domain in zip(users, ("lab.test", "virtual.test")):
        text = mail.message("to the full one", size=200000)
        t.b.smtp(user + "@" + domain, text)
        ids[user] = mail.message_id(text)
    for domain in ("lab.test", "virtual.test"):
        util.poll(lambda d=domain: "%s deferred: %s" % (d, t.b.postfix.said(since)),
                  lambda d=domain: any("@" + d in x and "status=deferred" in x for x in t.b.postfix.said(since)), 20)
    return since, ids


def delivered(t, since, ids):
    """What was deferred comes when there is room, and nothing was bounced."""
    t.b.postfix.postfix("flush")
    t.b.postfix.wait_delivered(30)
    for user, ident in ids.items():
        view = t.wait_equal(user, timeout=25)
        compare.assert_has(view, [ident])
        compare.assert_no_duplicates(view)
    said = t.b.postfix.said(since)
    t.check(not any("status=bounced" in line for line in said), "b bounced: %s", said)
    t.figure("b: %d deferred, none bounced", sum("status=deferred" in line for line in said))


def test(t):
    t.needs_mailfs()
    small_disk(t.b)
    t.b.mailfs.keep = "90s"
    t.pair.configure()
    util.parallel(t.a.start, t.b.start)
    t.pair.wait_in_sync()
    user, other = t.pair.user("full"), t.pair.user("vuser", name="vuser9")
    ids = [t.a.deliver(user, mail.message(size=3000)) for _ in range(3)]
    t.wait_equal(user)
    expunged(t, user, ids)
    # beside the mail it would be a file like others, go to a, and from there fill b once more
    ballast = disk.fill(os.path.join(t.b.store, ".mailfs"))
    util.poll("what b keeps of expunged mail to go before its time", lambda: not kept(t.b), 20)
    ids += deliver(t, user)
    notes = (t.b.status() or {}).get("notes", [])
    named = [text for text in notes if user + "/Maildir" in text]
    t.check(named, "status of b does not name the mailbox: %s", notes)
    t.figure("b: %s", named[0])
    since, deferred = into_full(t, (user, other))
    os.unlink(ballast)
    start = util.now()
    t.pair.wait_in_sync(timeout=30)
    compare.assert_has(t.wait_equal(user, timeout=25), ids)
    t.figure("equal %.1f s after there was space", util.now() - start)
    delivered(t, since, deferred)


case.main(test, own=True, start=False)
