#!/usr/bin/env python3
"""Partition, both sides go on: flags, keywords, expunges, UIDs (DESIGN 8.2), then contact."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import apart, case  # noqa: E402


class Flags(apart.Story):
    """Each side's changes are applied to what both had, flag by flag."""

    def before(self):
        self.deliver(self.test.a, "two set", "set and cleared", "cleared on both", "other one cleared")
        with self.test.a.imap(self.user, mailbox="INBOX") as client:
            client.store("2", "+FLAGS", "\\Flagged")
            client.store("3", "+FLAGS", "\\Flagged \\Seen")
            client.store("4", "+FLAGS", "\\Seen")

    def apart(self, node):
        on_a = node is self.test.a
        with node.imap(self.user, mailbox="INBOX") as client:
            client.store("1", "+FLAGS", "\\Seen" if on_a else "\\Answered")
            client.store("2", *(("-FLAGS", "\\Flagged") if on_a else ("+FLAGS", "\\Draft")))
            client.store("3", "-FLAGS", "\\Flagged")
            if on_a:
                client.store("4", "-FLAGS", "\\Seen")

    def after(self):
        self.test.equal(self.flags("two set"), {"\\Seen", "\\Answered"}, "two set")
        self.test.equal(self.flags("set and cleared"), {"\\Draft"}, "set and cleared")
        self.test.equal(self.flags("cleared on both"), {"\\Seen"}, "cleared on both")
        self.test.equal(self.flags("other one cleared"), set(), "other one cleared")


class Keywords(apart.Story):
    """By name: both sides give the same letter to different words."""

    def before(self):
        self.deliver(self.test.a, "one", "two", "three")
        with self.test.a.imap(self.user, mailbox="INBOX") as client:
            client.store("1:2", "+FLAGS", "Common")

    def apart(self, node):
        on_a = node is self.test.a
        with node.imap(self.user, mailbox="INBOX") as client:
            client.store("1", "+FLAGS", "Red" if on_a else "Blue")
            client.store("2", *(("-FLAGS", "Common") if on_a else ("+FLAGS", "Green")))
            client.store("3", "+FLAGS", "Green Red" if on_a else "Red")

    def after(self):
        self.test.equal(self.flags("one"), {"Common", "Red", "Blue"}, "keywords of one")
        self.test.equal(self.flags("two"), {"Green"}, "keywords of two")
        self.test.equal(self.flags("three"), {"Green", "Red"}, "keywords of three")


class Expunge(apart.Story):
    """An expunge beats a flag, whichever side it was on; what both removed stays removed."""

    def before(self):
        self.deliver(self.test.a, "gone on a", "gone on b", "gone on both", "stays")
        with self.test.a.imap(self.user) as client:
            client.select()         # all have UIDs now

    def apart(self, node):
        on_a = node is self.test.a
        with node.imap(self.user, mailbox="INBOX") as client:
            client.store("2" if on_a else "1", "+FLAGS", "\\Flagged Important")
            client.store("1,3" if on_a else "2,3", "+FLAGS.SILENT", "\\Deleted")
            client.expunge()

    def after(self):
        self.test.equal(self.names(), ["stays"], "what is left")


class Uids(apart.Story):
    """UIDs given on both sides, shown, and some expunged: none ever names another message."""

    def before(self):
        self.deliver(self.test.a, "c1", "c2")

    def apart(self, node):
        self.deliver(node, *("%s%d" % (node.letter, i) for i in range(4)))
        self.look()
        with node.imap(self.user, mailbox="INBOX") as client:
            # came, was shown, and went
            client.store(str(self.uid(client, node.letter + "1")), "+FLAGS.SILENT", "\\Deleted")
            client.expunge()
            self.append(client, "INBOX", node.letter + "5", "\\Seen")
        self.look()

    def after(self):
        self.test.equal(self.names(), sorted(["c1", "c2"] + [n + i for n in "ab" for i in "0235"]),
                        "messages")
        rows = self.view["folders"]["INBOX"][1]
        self.test.equal([u for u, r in rows.items() if r[1] in (self.ids["c1"], self.ids["c2"])], [1, 2],
                        "UIDs of what both had")
        # and the next one lies above everything
        top = max(rows)
        self.deliver(self.test.b, "next")
        self.view = self.test.wait_equal(self.user)
        self.test.check(max(self.view["folders"]["INBOX"][1]) > top, "the next UID is not above")
        self.look()


class Moved(apart.Story):
    """Moved on one side, flagged on the other; moved to two places; moved out and in again."""

    folders = ("X", "Y")

    def before(self):
        self.deliver(self.test.b, "moved", "two places", "back")

    def apart(self, node):
        on_a = node is self.test.a
        with node.imap(self.user, mailbox="INBOX") as client:
            if on_a:
                client.move(str(self.uid(client, "moved")), "X")
            else:
                client.store(str(self.uid(client, "moved")), "+FLAGS", "\\Flagged")
            client.move(str(self.uid(client, "two places")), "X" if on_a else "Y")
            if on_a:
                client.move(str(self.uid(client, "back")), "Y")
                client.select("Y")
                client.move(str(self.uid(client, "back")), "INBOX")

    def after(self):
        self.test.equal(self.names("INBOX"), ["back"], "INBOX")
        self.test.equal(self.names("X"), ["moved", "two places"], "X")
        self.test.equal(self.names("Y"), ["two places"], "Y")


def test(t):
    apart.tell(t, (Flags, Keywords, Expunge, Uids, Moved),
               lambda: t.pair.cut_link(silent=False))


case.main(test)
