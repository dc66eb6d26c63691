#!/usr/bin/env python3
"""A server without mailfs feeds a standby: what its daemons do in the store is watched.

With a handful of watches for many mailboxes, and with inotify's queue overflowing.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402

QUEUE = "/proc/sys/fs/inotify/max_queued_events"
USERS = 8


def bring_up(t):
    t.a.mount = t.a.store               # Dovecot works in the store itself
    t.a.dovecot.prepare()
    # 16 watches are 5 mailboxes: the others have to be looked at
    t.a.mailfs.write(mode="watch", links=[("standby", t.b)], more="    watches = 16\n")
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])


def differences(t, user):
    a, b = compare.tree_view(t.a, user), compare.tree_view(t.b, user)
    return {k: (a.get(k), b.get(k)) for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)}


def wait_same(t, user, timeout=30):
    util.poll(lambda: "stores of %s alike: %s" % (user, differences(t, user)),
              lambda: not differences(t, user), timeout)


def wait_learnt(t, text, timeout=30):
    util.poll("a's syncd to say: " + text, lambda: any(
        text in line for line in util.tail(t.a.log("syncd"), 0, 1000)), timeout)


def changes(t, user, folder):
    """Everything that can happen to mail, by Dovecot, below nobody's mount."""
    t.a.deliver(user, mail.message("watched"))
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Seen")
        client.store("1", "+FLAGS", "$Work")
        client.store("2", "+FLAGS", "\\Deleted")
        client.expunge()
        client.create(folder)
        client.subscribe(folder)
        client.copy("1", folder)
        client.create("Old")
        client.rename("Old", folder + "New")
        client.logout()


def overflow(t, user):
    """More than the queue holds, while syncd is stopped and so does not read it."""
    with open(QUEUE) as f:
        before = f.read()
    t.a.stop("syncd")
    try:
        with open(QUEUE, "w") as f:
            f.write("16\n")
        t.a.start("syncd")
        wait_same(t, user)
        wait_watching(t)
        t.a.mailfs.syncd.kill(19, wait=False)
        for _ in range(20):
            t.a.deliver(user, mail.message("one of many"))
        t.a.mailfs.syncd.kill(18, wait=False)
        wait_learnt(t, "inotify's queue overflowed")
    finally:
        with open(QUEUE, "w") as f:
            f.write(before)
    wait_same(t, user)


def wait_watching(t):
    """Its thread has been through the store."""
    wait_learnt(t, "mailboxes are watched, the others looked at now and then")


def test(t):
    t.needs_mailfs()
    bring_up(t)
    t.a.start("dovecot")
    users = ["watched-%d" % i for i in range(USERS)]
    for user in users:                  # what was there before anything of ours
        for _ in range(3):
            t.a.deliver(user, mail.message("before"))
    t.a.start("syncd")
    t.b.start()
    t.a.wait_link(t.b, timeout=30)
    for user in users:
        wait_same(t, user)
    wait_watching(t)
    before = compare.user_view(t.a, users[0])
    t.equal(compare.view_difference(before, compare.user_view(t.b, users[0])), [], "what clients see")
    changes(t, users[0], "One")
    wait_same(t, users[0])  # if it is not watched, it is looked at
    changes(t, users[0], "Two")         # now it is one of those that changed last
    start = util.now()
    wait_same(t, users[0])
    t.figure("a change was there after %.1f s", util.now() - start)
    overflow(t, users[0])
    # what happened while syncd was not there
    t.a.stop("syncd")
    changes(t, users[1], "Three")
    t.a.start("syncd")
    wait_same(t, users[1])
    # nothing of ours is in the way: the source's clients see what they saw
    after = compare.user_view(t.a, users[2])
    t.equal(compare.view_difference(after, compare.user_view(t.b, users[2])), [], "what clients see")


case.main(test, own=True, seconds=120, start=False, postfix=False)
