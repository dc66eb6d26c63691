#!/usr/bin/env python3
"""A list (UIDs, keywords, subscriptions) or a directory of one mailbox cannot be read by one node's syncd: all else is merged,
status names it, its mail is taken on both nodes, and it is merged by itself when it can be read again."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

KINDS = ("dovecot-uidlist", "dovecot-keywords", "subscriptions", "cur")


class Lab:
    def __init__(self, t, pair, directory):
        self.t, self.pair = t, pair
        self.a, self.b = pair.nodes
        every = {n: {d: points.Points(directory, n, d) for d in points.PROGRAMS} for n in pair.nodes}
        self.disk = every[self.a]["syncd"]
        util.parallel(*(n.start for n in pair.nodes))
        pair.wait_in_sync()
        self.sent, self.shown = {}, {}

    def user(self, prefix):
        user = self.pair.user(prefix)
        self.sent[user] = []
        self.deliver(user)
        with self.a.imap(user, mailbox="INBOX") as client:
            client.store("1", "+FLAGS", "$Word")
            client.subscribe("INBOX")
        for name in KINDS[:3]:
            self.pair.wait_path(self.b, user, "Maildir", name)
        return user

    def deliver(self, *users):
        for user in users:
            self.sent[user] += [n.deliver(user, mail.message("good")) for n in self.pair.nodes]

    def number(self, *users):
        """Clients look at them; no UID has ever been another message's on that node."""
        for user in users:
            for node in self.pair.nodes:
                with node.imap(user, mailbox="INBOX"):
                    pass
                validity, _, rows = compare.parse_uidlist(node.stored(user, "Maildir", "dovecot-uidlist"))
                for uid, name in rows.items():
                    known = self.shown.setdefault((node.host, user, validity, uid), name)
                    self.t.check(known == name, "%s: UID %d of %s is %s, and was %s", node.host, uid, user, name, known)

    def named(self, user):
        """Status says which mailbox is not merged."""
        def named():
            return "/%s/Maildir" % user in str((self.a.status() or {}).get("last_error"))
        util.poll(lambda: "status names it: %s" % self.a.status(), named, 30)
        self.t.check(self.a.state() != "in-sync", "in sync, without %s", user)

    def alike(self, *users):
        self.number(*users)
        for user in users:
            compare.assert_has(compare.wait_equal(self.pair, user, timeout=30), self.sent[user], exactly=True)


def met(lab, kind, bad, good):
    """It cannot be read when the nodes meet again."""
    lab.pair.cut_link(silent=False)
    for node in lab.pair.nodes:
        node.wait_state("alone")
    lab.deliver(bad, *good)
    lab.number(bad, *good)
    with lab.b.imap(bad, mailbox="INBOX") as client:
        client.store("1:*", "+FLAGS", "$Other" + kind.replace("-", ""))
    lab.disk.unreadable("/%s/Maildir/%s" % (bad, kind))
    lab.pair.heal_link()
    lab.alike(*good)
    lab.named(bad)
    lab.t.check(lab.disk.control.done, "%s was never read", kind)
    lab.deliver(bad, *good)
    lab.number(bad)
    lab.alike(*good)
    lab.disk.disarm()
    lab.pair.wait_in_sync(timeout=30)
    lab.alike(bad)


def meanwhile(lab, kind, bad, good):
    """It cannot be read any more while they are in sync."""
    lab.disk.unreadable("/%s/Maildir/%s" % (bad, kind))
    lab.deliver(bad, *good)
    lab.number(bad)
    with lab.a.imap(bad, mailbox="INBOX") as client:
        client.store("1:*", "+FLAGS", "$More" + kind.replace("-", ""))
    lab.deliver(bad, *good)
    lab.alike(*good)
    lab.t.figure("%s while in sync: read %d times", kind, lab.disk.disarm())
    lab.pair.wait_in_sync(timeout=30)
    lab.alike(bad)


def story(t, directory):
    with Pair(timeout=2, postfix=False, start=False) as pair:
        try:
            lab = Lab(t, pair, directory)
            good = [lab.user("good") for _ in range(3)]
            for kind in KINDS:
                bad = lab.user("bad")
                lab.alike(bad, *good)
                met(lab, kind, bad, good)
                meanwhile(lab, kind, bad, good)
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    with points.armed("lists") as directory:
        story(t, directory)


case.main(test, own="none", seconds=240)
