#!/usr/bin/env python3
"""Folders are renamed at a while b's disk is full, for longer than b goes on with each of these: neither says that it is
in sync, a's clients do not wait, and when there is space both have the same folders, without a cut of the link. A folder
that is made at a meanwhile, and mail that comes into it when b has room for that and for little more, stop nothing
that another user does."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, disk, mail, util  # noqa: E402


SIZE = 48 << 20
# Longer names than there is room for in the blocks that the directory has on b.
FOLDERS = 40
PAD = "-" * 180
GIVEN_UP = 60  # s
SOME_ROOM = 8 << 20  # enough for mail; the trees are compared when 16 MiB are free
MADE = "made" + PAD


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


def make(t, user):
    """A folder that b has no room for."""
    start = util.now()
    with t.a.imap(user) as client:
        client.create(MADE)
    took = util.now() - start
    t.figure("folder made at a in %.1f s", took)
    t.check(took < 2, "making a folder at a took %.1f s", took)


def fill_made(t, user):
    """A message that b can keep, though it has not the folder."""
    text = mail.message(size=3000)
    start = util.now()
    with t.a.imap(user) as client:
        client.append(MADE, text)
    took = util.now() - start
    t.figure("message into it in %.1f s", took)
    t.check(took < 2, "a message into a folder that b has not took %.1f s", took)
    return mail.message_id(text)


def flagged(node, user):
    """The messages that are, in the store; that takes no room."""
    names = os.listdir(node.stored(user, "Maildir/cur"))
    return len([n for n in names if "F" in n.partition(":2,")[2]])


def follows(t, user):
    """What is done at a in a mailbox that lacks nothing comes to b."""
    with t.a.imap(user, mailbox="INBOX") as client:
        for how, number in (("+FLAGS", 1), ("-FLAGS", 0)):
            client.store("1", how, "\\Flagged")
            util.poll("b to follow another user", lambda n=number: flagged(t.b, user) == n, 5)


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
    other = t.pair.user("other")
    ids = [t.a.deliver(user, mail.message(size=3000)) for _ in range(3)]
    t.a.deliver(other, mail.message())
    for name in (user, other):
        t.wait_equal(name)
    ballast = disk.fill(os.path.join(t.b.store, ".mailfs"))
    rename(t, user)
    util.poll("b to give up what it has no room for", lambda: states(t) == ["catching-up"] * 2, GIVEN_UP + 30)
    done = longest_names(t.b, user)
    t.check(done < FOLDERS, "b had room for all")
    t.figure("%d of %d renames done at b", done, FOLDERS)
    make(t, user)
    for _ in range(10):
        follows(t, other)
    times = [flag(t, user) for _ in range(10)]
    t.figure("longest session at a %.1f s", max(times))
    t.check(max(times) < 2, "a session at a took %.1f s", max(times))
    t.equal(states(t), ["catching-up"] * 2, "states while it is full")
    os.truncate(ballast, os.path.getsize(ballast) - SOME_ROOM)
    filed = fill_made(t, user)
    for _ in range(10):
        follows(t, other)
    t.equal(states(t), ["catching-up"] * 2, "states with some room")
    t.check(not os.path.exists(t.b.stored(user, "Maildir", "." + MADE)), "b has made the folder")
    os.unlink(ballast)
    start = util.now()
    t.pair.wait_in_sync(timeout=90)
    view = t.wait_equal(user, timeout=5)
    compare.assert_has(view, ids)
    compare.assert_has(view, [filed], MADE)
    t.equal([longest_names(node, user) for node in t.pair.nodes], [FOLDERS + 1] * 2, "renamed, and made")
    t.wait_equal(other)
    t.figure("in sync %.1f s after there was space", util.now() - start)


case.main(test, own=True, start=False, postfix=False, seconds=200)
