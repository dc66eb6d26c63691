#!/usr/bin/env python3
"""mailfs's worker dies while a mailbox is locked. About to tell syncd that it is unlocked: the transaction goes on
all the same. Its successor is long in coming: the lock stays its owner's, on both nodes, as long as the process
lives that keeps the mount; and not when that has gone."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, compare, locks, mail, outage, util  # noqa: E402

SLOW = 5.5      # longer than any time after which it might be given up
LOST = "its mount is lost"


def said(node):
    with open(node.log("syncd"), errors="replace") as f:
        return f.read()


def next_uid(node, user):
    return compare.parse_uidlist(node.stored(user, "Maildir", "dovecot-uidlist"))[1]


def worker_gone(t, pid):
    """The holder is stopped, so that no other one comes."""
    before = said(t.a).count(" is gone")
    util.proc_signal(pid, signal.SIGSTOP)
    alone.kill_worker(pid)
    util.poll("syncd to see it", lambda: said(t.a).count(" is gone") > before)


def test(t):
    t.needs_mailfs()
    t.forgive(outage.MOUNT_LOST)
    t.b.start()
    os.environ["MAILFS_DIE"] = "going:3"
    t.a.start()
    t.pair.wait_in_sync()
    user = t.pair.user("slow")
    for _ in range(3):
        t.a.deliver(user, mail.message("before"))
    t.wait_equal(user)
    with open(t.a.log("mailfs"), errors="replace") as f:
        t.equal(f.read().count("has taken over"), 1, "workers that have died")
    t.check("merged:" not in said(t.a), "the transaction was given up, and the mailbox merged")
    pid, uid = t.a.daemon("mailfs").running(), next_uid(t.a, user)
    with locks.Holder(t.a, user) as holder:
        worker_gone(t, pid)
        until = util.now() + SLOW
        while util.now() < until:
            t.check(LOST not in said(t.a), "given up while its holder lives")
            time.sleep(0.1)
        util.proc_signal(pid, signal.SIGCONT)
        holder.release()
    t.b.deliver(user, mail.message("after, at b"))
    t.wait_equal(user)
    t.equal(next_uid(t.b, user), uid + 1, "next UID")
    with locks.Holder(t.a, user):
        worker_gone(t, pid)
        util.proc_signal(pid, signal.SIGKILL)
        start = util.now()
        util.poll("the loss", lambda: LOST in said(t.a), 4)
        t.figure("the mount's loss seen after %.2f s", util.now() - start)
        t.a.mailfs.mountd.kill()


case.main(test, own=True, start=False, postfix=False)
