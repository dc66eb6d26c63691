#!/usr/bin/env python3
"""A disk quota of the mail's owner is used up at any one step of a delivery at node a: Postfix defers, never bounces,
and all comes when there is room, once."""

import errno
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

# By Postfix's own virtual(8), by Dovecot's LMTP, to two users at once (of whom one gets a link to the other's): the
# operation, the class of file.
VIRTUAL, LMTP, TWO = "virtual", "lmtp", "two"
STEPS = ((VIRTUAL, "create", "tmp"), (VIRTUAL, "pwrite", "tmp"), (VIRTUAL, "fsync fdatasync", "tmp"),
         (VIRTUAL, "link", "new"),
         (LMTP, "create", "tmp"), (LMTP, "pwrite", "tmp"), (LMTP, "fsync fdatasync", "tmp"), (LMTP, "rename", "new"),
         (TWO, "link", "tmp"))
# The same for users of whom nothing is there yet: the user's own directory, and what is in a mailbox.
NEW = tuple((way, "mkdir", cls) for way in (VIRTUAL, LMTP) for cls in ("file", "mailbox/"))


class Lab:
    def __init__(self, t, pair, directory):
        self.t, self.pair = t, pair
        self.a, self.logged = pair.a, 0
        self.mailfs = points.Points(directory, pair.a, "mailfs")
        for node, daemon in ((pair.a, "syncd"), (pair.b, "mailfs"), (pair.b, "syncd")):
            points.Points(directory, node, daemon)

    def over_quota(self, users, way, op, cls):
        """One mail at a meets it at each such step; all of it is there in the end, once."""
        what, postfix = "%s: %s %s" % (way, op, cls), self.a.postfix
        since, logged = os.path.getsize(postfix.log), os.path.getsize(self.a.log("mailfs"))
        text = mail.message(what, size=3000)
        domain = "virtual.test" if way == VIRTUAL else "lab.test"
        self.mailfs.arm(points.FAIL, op=op, cls=cls, error=errno.EDQUOT, times=0)
        self.a.smtp([user + "@" + domain for user in users], text)
        util.poll(lambda: "%s: %s" % (what, postfix.said(since)), lambda: len(postfix.said(since)) >= len(users), 20)
        said = postfix.said(since)
        self.t.check(self.mailfs.disarm(), "%s: there is none", what)
        deferred = [line for line in said if "status=deferred" in line]
        self.t.check(deferred if way == TWO else len(deferred) == len(said), "%s: %s", what, said)
        self.named(what, users, logged)
        postfix.postfix("flush")
        postfix.wait_delivered(30)
        self.pair.wait_in_sync()
        for user in users:
            view = compare.wait_equal(self.pair, user, timeout=20)
            self.t.equal(compare.count_ids(view)[mail.message_id(text)], 1, "%s: for %s" % (what, user))
        final = [line for line in postfix.said(since) if "status=sent" not in line and "status=deferred" not in line]
        self.t.check(not final, "%s: %s", what, final)

    def named(self, what, users, since):
        """In whose mailbox it was: Postfix and Dovecot are told another error. Five lines in ten seconds, and then no
        more: so what is not there for a while says nothing."""
        lines = [line for line in util.tail(self.a.log("mailfs"), since, 1000) if "Disk quota" in line]
        wrong = [line for line in lines if not any(re.search("[ /]%s[/:]" % user, line) for user in users)]
        self.t.check(not wrong, "%s: logged without the mailbox: %s", what, wrong)
        self.logged += len(lines)


def story(t, directory):
    with Pair(timeout=2, start=False) as pair:
        try:
            lab = Lab(t, pair, directory)
            util.parallel(*(n.start for n in pair.nodes))
            pair.wait_in_sync()
            users = {VIRTUAL: [pair.user(name="vuser0")], LMTP: [pair.user("quota")],
                     TWO: [pair.user("quota"), pair.user("quota")]}
            for way, op, cls in STEPS:
                lab.over_quota(users[way], way, op, cls)
            for i, (way, op, cls) in enumerate(NEW):
                lab.over_quota([("vuser%d" if way == VIRTUAL else "new-%d") % (i + 1)], way, op, cls)
            t.check(lab.logged >= 5, "%d lines of the log name a mailbox", lab.logged)
            t.figure("%d steps: deferred, all there, once", len(STEPS) + len(NEW))
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    with points.armed("quota") as directory:
        story(t, directory)


case.main(test, own="none", seconds=120)
