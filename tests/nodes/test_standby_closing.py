#!/usr/bin/env python3
"""A node becomes a standby while a mail client has one of its mailboxes locked: till that client is through everybody
there may write, and what is removed then is removed on both, also when all has been merged before. (That can be where the
locked mailbox has no list yet: any other has another next UID on the promoted node, and its merge waits for the lock.)
From then on it only follows: what it lacks comes again."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, locks, mail, util  # noqa: E402


def names(top):
    return sorted(n for sub in ("new", "cur") for n in os.listdir(os.path.join(top, sub)))


def in_sync(t):
    t.a.wait_link(t.b)
    t.b.wait_link(t.a)


def fill(t, user):
    for _ in range(3):
        t.a.deliver(user, mail.message())
    with t.a.imap(user) as client:
        for folder in ("Gone", "Stays"):
            client.create(folder)
            client.append(folder, mail.message("in " + folder), "\\Seen")
        client.select()
        client.logout()
    compare.wait_alike(t.a, t.b, user)


def without_a_list(t, user):
    owner = os.stat(t.a.home("closing"))
    for part in ("", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"):
        path = t.a.home(user, part) if part else t.a.home(user)
        os.mkdir(path, 0o700)
        os.chown(path, owner.st_uid, owner.st_gid)
    util.poll("%s is on the standby" % user, lambda: os.path.isdir(t.b.stored(user, "Maildir", "tmp")), 15)
    in_sync(t)


def demote(t):
    done = t.b.mailfs.ctl("promote", "--force")
    t.check("active" in done.stdout, "promote --force says %s", done.stdout)
    util.poll("a is a standby", lambda: (t.a.status() or {}).get("role") == "standby", 20)
    in_sync(t)


def removed_by_force(t, user):
    """By a script, say. What of it is a message."""
    box = t.a.home(user, "Maildir")
    name = names(box)[0]
    for sub in ("new", "cur"):
        if os.path.exists(os.path.join(box, sub, name)):
            os.unlink(os.path.join(box, sub, name))
    shutil.rmtree(os.path.join(box, ".Gone"))
    return name.split(":")[0]


def is_gone(t, user, base):
    for node in t.pair.nodes:
        box = node.stored(user, "Maildir")
        if any(n.startswith(base) for n in names(box)) or os.path.exists(os.path.join(box, ".Gone")):
            return False
    return True


def comes_again(t, user):
    """Below the mount, of the standby's store."""
    box = t.a.stored(user, "Maildir")
    name = names(box)[0]
    for sub in ("new", "cur"):
        if os.path.exists(os.path.join(box, sub, name)):
            os.unlink(os.path.join(box, sub, name))
    t.b.deliver(user, mail.message("to the active one"))
    util.poll("%s is on the standby again" % name, lambda: len(names(box)) == len(names(t.b.stored(user, "Maildir"))) == 3, 15)


def test(t):
    t.needs_mailfs()
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.a.start()
    t.b.start()
    in_sync(t)
    busy, user = "busy", "closing"
    fill(t, user)
    without_a_list(t, busy)
    with locks.Holder(t.a, busy) as holder:
        demote(t)
        base = removed_by_force(t, user)
        util.poll("what was removed is gone on both", lambda: is_gone(t, user, base), 15)
        holder.release()
    in_sync(t)
    compare.wait_alike(t.a, t.b, user)
    t.check(is_gone(t, user, base), "what was removed is back")
    comes_again(t, user)


case.main(test, own=True, seconds=90, start=False, postfix=False)
