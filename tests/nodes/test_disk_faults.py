#!/usr/bin/env python3
"""A disk that fails at one step: half a write, the power gone at a certain call."""

import errno
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

TIMEOUT = 2

# daemon of node a, operations, class of file; mail at this node brings it there; so many writes from the first one
# (0: all; mailfs answers a write that fails in its second half with the first, and Dovecot writes the rest, which may
# be in halves, too); what is said then, and where.  Under L mailfs writes the list all the same, with what it keeps for that.
HALVES = (("syncd", "pwrite copy", "stage", "b", 2, "status", r"/%s/Maildir: cannot write to the stage: No space"),
          ("syncd", "write", "dovecot-uidlist", "b", 2, "status", r"/%s/Maildir: cannot apply what .*: No space"),
          ("mailfs", "pwrite", "tmp", "a", 0, "dovecot", r"/%s/Maildir/tmp/.* failed: No space"),
          ("mailfs", "pwrite", "dovecot-uidlist", "a", 2, "mailfs", r"store is full"))

# the same; before or after
CUTS = (("syncd", "commit", "state", points.CUT_BEFORE, "b"),
        ("syncd", "link", "new", points.CUT_AFTER, "b"),
        ("mailfs", "fsync fdatasync", "tmp", points.CUT_AFTER, "a"),
        ("mailfs", "rename", "new", points.CUT_AFTER, "a"))


class Lab:
    def __init__(self, t, pair, directory):
        self.t, self.pair = t, pair
        self.a, self.b = pair.nodes
        every = {n: {d: points.Points(directory, n, d) for d in points.PROGRAMS} for n in pair.nodes}
        self.points = every[self.a]

    def node(self, letter):
        return self.a if letter == "a" else self.b

    def lmtp(self, node, user):
        """One mail; its Message-ID if it was taken. Nobody bounces, nobody waits long."""
        text, start = mail.message("x", size=2000), util.now()
        try:
            reply = node.lmtp(user, text)[0]
        except (util.Fail, OSError):
            reply = "421 the server died"
        self.t.check(reply[0] in "24", "%s: %s", node.host, reply)
        self.t.check(util.now() - start < 3 * TIMEOUT + 3, "%s: waited %.1f s", node.host, util.now() - start)
        return mail.message_id(text) if reply[0] == "2" else None

    def whole(self, user, taken, what):
        """In sync by itself, and all that was taken is on both."""
        self.pair.wait_in_sync(timeout=30)
        try:
            compare.assert_has(compare.wait_equal(self.pair, user, timeout=20), [i for i in taken if i])
        except util.Fail as error:
            raise util.Fail("%s: %s" % (what, error)) from None


def said(lab, where, since):
    """By node a's status, or in that log: what somebody who looks for the cause is told."""
    if where == "status":
        status = lab.a.status() or {}
        return status.get("notes", []) + [status.get("last_error") or ""]
    return util.tail(lab.a.log(where), since)


def half(lab, user, daemon, op, cls, letter, times, where, words):
    """Half a write, and no more room; that is told, and then all is well again."""
    armed = lab.points[daemon]
    since = 0 if where == "status" else os.path.getsize(lab.a.log(where))
    pattern = re.compile(words % user if "%s" in words else words)
    lab.t.check(not any(map(pattern.search, said(lab, where, since))), "said before: %s", pattern.pattern)
    armed.arm(points.SHORT, op=op, cls=cls, error=errno.ENOSPC, times=times)
    taken = [lab.lmtp(lab.node(letter), user) for _ in range(3)]
    util.poll("%d writes to %s by %s" % (times, cls, daemon), lambda: armed.control.done >= max(times, 1))
    armed.disarm()
    util.poll(lambda: "half a write to %s by %s: %s says %s, and not %s" % (
        cls, daemon, where, said(lab, where, since), pattern.pattern),
        lambda: any(map(pattern.search, said(lab, where, since))))
    lab.whole(user, taken, "half a write to " + cls)
    return taken.count(None)


def cut(lab, user, daemon, op, cls, when, letter):
    armed = lab.points[daemon]
    armed.arm(when, op=op, cls=cls, device=lab.a.disk.point)
    taken = [lab.lmtp(lab.node(letter), user)]
    points.wait_done(armed)
    armed.disarm()
    lab.a.crash()
    lab.a.disk.unmount()
    taken.append(lab.lmtp(lab.b, user))
    lab.a.revive()
    lab.whole(user, taken, "power cut at %s %s of %s" % (op, cls, daemon))


def story(t, directory):
    with Pair(timeout=TIMEOUT, postfix=False, disk=96 << 20, start=False) as pair:
        try:
            lab = Lab(t, pair, directory)
            util.parallel(*(n.start for n in pair.nodes))
            pair.wait_in_sync()
            users = [pair.user("disk") for _ in range(2)]
            refused = sum(half(lab, users[0], *where) for where in HALVES)
            t.check(refused, "no mail was refused")
            t.figure("half a write, in %d places: told, %d refused", len(HALVES), refused)
            for where in CUTS:
                cut(lab, users[1], *where)
            t.figure("%d power cuts at a call", len(CUTS))
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    with points.armed("disk") as directory:
        story(t, directory)


case.main(test, own="none", seconds=120)
