#!/usr/bin/env python3
"""The link dies between a delivery's fsync and its link or rename (DESIGN 8.6).

The peer then publishes what was prepared with it, under the name it had in tmp/; when the nodes
meet again it is known to be the same message, whatever became of it on either node meanwhile.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import apart, case, mail, util  # noqa: E402


class Prepared(apart.Story):
    """A delivery at a that has done its fsync when the link dies."""

    def before(self):
        text = mail.message("prepared")
        self.ids["prepared"] = mail.message_id(text)
        self.tmp = "1000.M1P2.%s" % self.user
        path = self.test.a.home(self.user, "Maildir", "tmp", self.tmp)
        with open(path, "wb") as f:
            os.chown(path, 5000, 5000)
            f.write(text)
            f.flush()
            os.fsync(f.fileno())

    def path(self, node, *parts):
        return node.home(self.user, "Maildir", *parts)

    def alone(self):
        self.test.pair.wait_path(self.test.b, self.user, "Maildir", "new", self.tmp)
        super().alone()

    def link(self):
        """As Postfix does."""
        tmp = self.path(self.test.a, "tmp", self.tmp)
        os.link(tmp, self.path(self.test.a, "new", "1000.V1I2.%s" % self.user))
        os.unlink(tmp)

    def rename(self):
        """As Dovecot does."""
        tmp = self.path(self.test.a, "tmp", self.tmp)
        os.rename(tmp, self.path(self.test.a, "new", self.tmp + ",S=%d" % os.path.getsize(tmp)))


class Linked(Prepared):
    def apart(self, node):
        if node is self.test.a:
            self.link()

    def after(self):
        self.test.equal(self.names(), ["prepared"], "INBOX")


class Renamed(Prepared):
    """And seen on both sides before they met: one message, with what both did to it."""

    def apart(self, node):
        on_a = node is self.test.a
        if on_a:
            self.rename()
        with node.imap(self.user, mailbox="INBOX") as client:
            client.store(str(self.uid(client, "prepared")), "+FLAGS", "\\Seen" if on_a else "\\Flagged")

    def after(self):
        self.test.equal(self.names(), ["prepared"], "INBOX")
        self.test.equal(self.flags("prepared"), {"\\Seen", "\\Flagged"}, "flags")


class Expunged(Prepared):
    """Expunged where it was delivered: the other copy goes as well."""

    def apart(self, node):
        if node is self.test.a:
            self.link()
            with node.imap(self.user, mailbox="INBOX") as client:
                client.store(str(self.uid(client, "prepared")), "+FLAGS.SILENT", "\\Deleted")
                client.expunge()

    def after(self):
        self.test.equal(self.names(), [], "INBOX")


class ExpungedThere(Prepared):
    """Expunged where it was published: the same."""

    def apart(self, node):
        if node is self.test.a:
            self.rename()
        else:
            with node.imap(self.user, mailbox="INBOX") as client:
                client.store(str(self.uid(client, "prepared")), "+FLAGS.SILENT", "\\Deleted")
                client.expunge()

    def after(self):
        self.test.equal(self.names(), [], "INBOX")


class Refused(Prepared):
    """Given up where it began, so answered with an error: it may be there, but once."""

    def apart(self, node):
        if node is self.test.a:
            os.unlink(self.path(node, "tmp", self.tmp))

    def after(self):
        self.test.check(self.names() in ([], ["prepared"]), "INBOX: %s", self.names())


def test(t):
    apart.tell(t, (Linked, Renamed, Expunged, ExpungedThere, Refused), lambda: t.pair.cut_link(silent=True))
    # nothing that was prepared is left over
    for node in t.pair.nodes:
        stage = os.path.join(node.store, ".mailfs", "stage")
        util.poll(lambda s=stage: "no prepared content, there is %s" % os.listdir(s),
                  lambda s=stage: not [f for f in os.listdir(s) if f.startswith("p-")])


case.main(test)
