#!/usr/bin/env python3
"""A disk that fails at one step: the log, or `status`, says in which mailbox."""

import errno
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

TIMEOUT = 2


class Lab:
    def __init__(self, t, pair, directory):
        self.t, self.pair = t, pair
        self.a, self.b = pair.nodes
        every = {n: {d: points.Points(directory, n, d) for d in points.PROGRAMS} for n in pair.nodes}
        self.points = every[self.a]

    def try_lmtp(self, user):
        """At a; whether it was taken. What cannot be is refused for now."""
        try:
            reply = self.a.lmtp(user, mail.message("x", size=2000))[0]
        except (util.Fail, OSError):
            reply = "421 no answer"
        self.t.check(reply[0] in "24", "a: %s", reply)

    def logged(self, daemon, since, pattern):
        """A line of a's, written since then."""
        log = self.a.log(daemon)
        util.poll(lambda: "%s in %s: %s" % (pattern, log, util.tail(log, since)),
                  lambda: any(re.search(pattern, line) for line in util.tail(log, since, 1000)), 15)

    def told(self, pattern):
        """In `status` of a."""
        def texts():
            status = self.a.status() or {}
            return status.get("notes", []) + [status.get("last_error") or ""]
        util.poll(lambda: "%s in status: %s" % (pattern, texts()),
                  lambda: any(re.search(pattern, text) for text in texts()), 15)

    def whole(self, user):
        self.pair.wait_in_sync(timeout=30)
        compare.wait_equal(self.pair, user, timeout=20)


def failing(lab, daemon, op, cls, error, act, says, path=""):
    """act() meets that error at each such step of a's; then says() is what is to be seen."""
    armed = lab.points[daemon]
    since = os.path.getsize(lab.a.log(daemon))
    armed.arm(points.FAIL, op=op, cls=cls, error=error, times=0, path=path)
    act()
    points.wait_done(armed)
    says(since)
    lab.t.check(armed.disarm(), "%s did no %s of %s", daemon, op, cls)


def a_message(lab, user):
    for op, what in (("fsync fdatasync", "fsync of a message"), ("pwrite", "writing a message")):
        failing(lab, "mailfs", op, "tmp", errno.EIO, lambda: lab.try_lmtp(user),
                lambda since, w=what: lab.logged("mailfs", since,
                                                 r"%s/Maildir/tmp/\S+: %s: Input/output" % (user, w)))


def a_mark(lab, user):
    def make():
        with lab.a.imap(user) as client:
            try:
                client.create("marked")
            except util.Fail:
                pass    # as it may be
            client.logout()
    failing(lab, "mailfs", "commit", "state", errno.EIO, make,
            lambda since: lab.logged("mailfs", since, user + r"/Maildir\S*: .*marks: Input/output"))


def a_list(lab, user):
    """Its numbers are to be on the disk before they are shown, where the other node has not got them: a new one, by
    its directory. (Of the list itself Dovecot asks for that, too, and forgets it where it fails.)"""
    user += "-new"
    lab.pair.cut_link()
    lab.a.wait_state("alone")
    failing(lab, "mailfs", "fsync", "file", errno.EIO, lambda: lab.try_lmtp(user),
            lambda since: lab.logged("mailfs", since, user + "/Maildir: dovecot-uidlist cannot be synced: Input/"),
            path=user + "/Maildir")
    lab.pair.heal_link()
    lab.whole(user)


def what_the_peer_did(lab, user):
    failing(lab, "syncd", "link rename", "new", errno.ENOSPC, lambda: lab.b.deliver(user, mail.message("at b")),
            lambda since: lab.told("%s.*cannot be applied yet: No space" % user), path=user)
    lab.whole(user)
    failing(lab, "syncd", "commit", "state", errno.ENOSPC, lambda: lab.b.deliver(user, mail.message("at b")),
            lambda since: lab.logged("syncd", since, user + "/Maildir: cannot write the journal: No space"))


def story(t, directory):
    with Pair(timeout=TIMEOUT, postfix=False, start=False) as pair:
        try:
            lab = Lab(t, pair, directory)
            util.parallel(*(n.start for n in pair.nodes))
            pair.wait_in_sync()
            for act in (a_message, a_mark, a_list, what_the_peer_did):
                user = pair.user("named")
                act(lab, user)
                lab.whole(user)
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    with points.armed("named") as directory:
        story(t, directory)


case.main(test, own="none", seconds=120)
