#!/usr/bin/env python3
"""Node a's own disk is full, then the disk of its state: mail is deferred, never bounced, and comes later."""

import itertools
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, disk, mail, util  # noqa: E402

TIMEOUT = 3
COUNT = itertools.count()


def small_disk(node, where, size):
    """A file system of its own for this directory, with what is in it already."""
    saved = where + ".saved"
    os.rename(where, saved)
    os.mkdir(where)
    disk.ext4_at(where, os.path.join(node.dir, "disk-" + os.path.basename(where)), size)
    util.run(["cp", "-a", saved + "/.", where])
    shutil.rmtree(saved)


def into_full(t, users):
    """Mail by SMTP to both ways of delivery, and by IMAP, while it is full; the Message-IDs taken by SMTP."""
    texts = [mail.message("too much", size=400000) for _ in range(4)]
    for text in texts[:2]:
        t.a.smtp(users[0] + "@lab.test", text)
    for text in texts[2:]:
        t.a.smtp(users[1] + "@virtual.test", text)
    slow = []
    for user in users[:2]:
        start = util.now()
        with t.a.imap(user, mailbox="INBOX") as client:
            client.ids()
            try:
                client.append("INBOX", mail.message("by IMAP", size=400000))
            except util.Fail as error:
                t.check("NO" in str(error), "APPEND into a full node: %s", error)
            client.logout()
        slow.append(util.now() - start)
        start = util.now()
        t.b.deliver(user, mail.message("at b"))
        slow.append(util.now() - start)
    # one that nobody has had yet
    reply = t.a.lmtp("fresh-%d" % next(COUNT), mail.message())[0]
    t.check(reply[0] in "24", "mail for a new user: %s", reply)
    t.check(max(slow) < TIMEOUT + 3, "somebody waited %.1f s", max(slow))
    return [mail.message_id(text) for text in texts]


def lists(t, user):
    """Once L is granted its owner's lists are written, whatever the disk holds: Dovecot forgets UIDs that it
    could not write, and gives them again."""
    with t.a.imap(user, mailbox="INBOX") as client:
        gone, kept = client.uids()[:3], client.uids()[3:]
        for uid in gone:
            client.store(uid, "+FLAGS", "\\Deleted")
        client.expunge()
        client.store(kept[0], "+FLAGS", "kw%d" % next(COUNT))
        client.noop()
        t.check(client.uids()[:len(kept)] == kept, "UIDs %s were %s", client.uids(), kept)
        client.logout()
    with open(t.a.log("dovecot"), errors="replace") as f:
        wrong = [line for line in f if re.search(r"dovecot-(uidlist|keywords)\S* failed: No space", line)]
    t.check(not wrong, "a list could not be written: %s", wrong[:1])


def told(node):
    """What status says of a disk that is full."""
    status = node.status() or {}
    return [text for text in status.get("notes", []) + [status.get("last_error") or ""] if "No space" in text]


def of_full(node):
    """What its daemons logged of a full disk."""
    lines = []
    for daemon in ("mailfs", "syncd"):
        with open(node.log(daemon), errors="replace") as f:
            lines += [line for line in f if re.search("No space|store is full", line)]
    return lines


def nameless(users, lines):
    """Those that do not say in which mailbox; a checkpoint is the volume's."""
    return [line for line in lines if "checkpoint" not in line and
            not any(user + "/Maildir" in line for user in users + ["fresh-"])]


def full(t, users, where, what, defers):
    """What is wanted is not that it is refused: but if it cannot be taken, then deferred."""
    since, before = os.path.getsize(t.a.postfix.log), told(t.a)
    ballast = disk.fill(where)
    ids = into_full(t, users)
    if defers:
        t.a.postfix.wait_deferred(since)
    words = util.poll(lambda: "an error in status: %s" % t.a.status(),
                      lambda: [text for text in told(t.a) if text not in before], 20)
    t.figure("%s: %s, %d deferred", what, words[0],
             sum("status=deferred" in line for line in t.a.postfix.said(since)))
    lists(t, users[2])
    t.equal(nameless(users, words + of_full(t.a)), [], what + ": said without a mailbox")
    unheard = [user for user in users if defers and not any(user + "/Maildir" in line for line in of_full(t.a))]
    t.equal(unheard, [], what + ": not named in the log")
    os.unlink(ballast)
    start = util.now()
    t.a.postfix.postfix("flush")
    t.a.postfix.wait_delivered(30)
    t.pair.wait_in_sync(timeout=30)
    for user, mine in zip(users, (ids[:2], ids[2:])):
        compare.assert_has(t.wait_equal(user, timeout=25), mine)
    t.figure("all there %.1f s after there was space", util.now() - start)
    bounced = [line for line in t.a.postfix.said(since) if "bounced" in line]
    t.check(not bounced, "%s: bounced: %s", what, bounced[:1])


def test(t):
    t.needs_mailfs()
    # Dovecot tells of a disk that is full in its own words
    t.forgive(r"No space left|Resource temporarily unavailable")
    small_disk(t.a, t.a.store, 48 << 20)
    small_disk(t.a, t.a.mailfs.state, 16 << 20)
    os.chown(t.a.store, 5000, 5000)
    util.parallel(t.a.start, t.b.start)
    t.pair.wait_in_sync()
    users = [t.pair.user("full"), t.pair.user("vuser", name="vuser7"), t.pair.user("lists")]
    for user in users[:2] + users[2:] * 8:
        t.a.deliver(user, mail.message("before"))
    for user in users:
        t.wait_equal(user)
    full(t, users, os.path.join(t.a.store, ".mailfs"), "store full", True)
    full(t, users, t.a.mailfs.state, "state full", False)


case.main(test, own=True, start=False, seconds=120)
