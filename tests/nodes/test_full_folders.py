#!/usr/bin/env python3
"""Folders are renamed at a while b's disk is full, for longer than b goes on with each of these: neither says that it is
in sync, a's clients do not wait, and when there is space both have the same folders, without a cut of the link."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, disk, mail, util  # noqa: E402


SIZE = 48 << 20
# Longer names than there is room for in the blocks that the directory has on b.
FOLDERS = 40
PAD = "-" * 180
GIVEN_UP = 60  # s


def rename(t, user):
    """Each at once, whatever b does."""
    times = []
    with t.a.imap(user) as client:
        for i in range(FOLDERS):
            start = util.now()
            client.rename("f%d" % i, "%s%d%s" % ("a" if i % 2 else "z", i, PAD))  # before and behind the old one
            times.append(util.now() - start)
    t.figure("longest of %d renames at a %.1f s", FOLDERS, max(times))
    t.check(max(times) < 2, "a rename at a took %.1f s", max(times))


def longest_names(node, user):
    return len([n for n in os.listdir(node.stored(user, "Maildir")) if n.endswith(PAD)])


def flag(t, user):
    """What a client does at a in the mailbox whose folders they are."""
    start = util.now()
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Flagged")
        client.store("1", "-FLAGS", "\\Flagged")
    return util.now() - start


def states(t):
    return [node.state() for node in t.pair.nodes]


def test(t):
    t.needs_mailfs()
    disk.ext4_at(t.b.store, os.path.join(t.b.dir, "disk.image"), SIZE)
    os.chown(t.b.store, 5000, 5000)
    t.pair.configure()
    util.parallel(t.a.start, t.b.start)
    t.pair.wait_in_sync()
    user = t.pair.user("full", folders=["f%d" % i for i in range(FOLDERS)])
    ids = [t.a.deliver(user, mail.message(size=3000)) for _ in range(3)]
    t.wait_equal(user)
    ballast = disk.fill(os.path.join(t.b.store, ".mailfs"))
    rename(t, user)
    util.poll("b to give up what it has no room for", lambda: states(t) == ["catching-up"] * 2, GIVEN_UP + 30)
    done = longest_names(t.b, user)
    t.check(done < FOLDERS, "b had room for all")
    t.figure("%d of %d renames done at b", done, FOLDERS)
    times = [flag(t, user) for _ in range(10)]
    t.figure("longest session at a %.1f s", max(times))
    t.check(max(times) < 2, "a session at a took %.1f s", max(times))
    t.equal(states(t), ["catching-up"] * 2, "states while it is full")
    os.unlink(ballast)
    start = util.now()
    t.pair.wait_in_sync(timeout=90)
    compare.assert_has(t.wait_equal(user, timeout=5), ids)
    t.equal([longest_names(node, user) for node in t.pair.nodes], [FOLDERS] * 2, "renamed")
    t.figure("in sync %.1f s after there was space", util.now() - start)


case.main(test, own=True, start=False, postfix=False, seconds=200)
