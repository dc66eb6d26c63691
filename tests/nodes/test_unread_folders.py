#!/usr/bin/env python3
"""A folder in which one node has a message that it cannot read: it is renamed and deleted, the message copied; the syncd
that knows of it is killed."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

BAD = "1700000001.M1P1.badblock"


class Lab:
    def __init__(self, t, pair, disk):
        self.t, self.pair, self.disk = t, pair, disk
        self.a, self.b = pair.nodes
        self.user = pair.user("folders")
        self.sent = [self.a.deliver(self.user, mail.message())]
        self.bad = mail.message("bad", size=3000)

    def there(self, node):
        """{folder: base names} of what is in it."""
        top = node.stored(self.user, "Maildir")
        return {f: sorted(n.split(":")[0] for d in ("new", "cur") for n in os.listdir(os.path.join(top, f, d)))
                for f in os.listdir(top) + ["."] if f.startswith(".") and os.path.isdir(os.path.join(top, f, "cur"))}

    def settled(self, *folders):
        """In sync; status of a names so many messages, each in its folder; b has none of them."""
        self.pair.wait_in_sync(timeout=30)
        names = sorted("/%s/Maildir%s" % (self.user, "/" + f if f else "") for f in folders)
        util.poll(lambda: "%s: %s" % (names, self.a.status()["unread"]), lambda: sorted(
            u["mailbox"] for u in self.a.status()["unread"]) == names, 20)
        self.pair.wait_in_sync(timeout=30)

    def act(self, node, what, mailbox=None):
        with node.imap(self.user, mailbox=mailbox) as client:
            what(client)


def begin(lab):
    """a has it in a folder that both have."""
    lab.act(lab.a, lambda c: c.create("One"))
    lab.pair.wait_path(lab.b, lab.user, "Maildir", ".One", "cur")
    lab.pair.wait_in_sync()
    folder = lab.a.home(lab.user, "Maildir", ".One")
    owner = os.stat(folder)
    lab.disk.unreadable("badblock")
    tmp = os.path.join(folder, "tmp", BAD)
    with open(tmp, "wb") as f:
        f.write(lab.bad)
    os.chown(tmp, owner.st_uid, owner.st_gid)
    os.rename(tmp, os.path.join(folder, "new", BAD))
    lab.settled(".One")


def renamed(lab):
    """By b, and by a: it goes with its folder."""
    lab.act(lab.b, lambda c: c.rename("One", "Two"))
    lab.pair.wait_path(lab.a, lab.user, "Maildir", ".Two")
    lab.settled(".Two")
    lab.act(lab.a, lambda c: c.rename("Two", "Three"))
    lab.pair.wait_path(lab.b, lab.user, "Maildir", ".Three")
    lab.settled(".Three")


def copied(lab):
    """To another folder: both are there, under a UID each, and are told of."""
    lab.act(lab.a, lambda c: c.copy("1", "INBOX"), "Three")
    lab.pair.wait_in_sync(timeout=30)
    lab.t.check(len(lab.there(lab.a)["."]) == 2 and len(lab.there(lab.b)["."]) == 1, "%s %s", lab.there(lab.a),
                lab.there(lab.b))
    lab.t.figure("status after a copy: %s", lab.a.status()["unread"])


def deleted(lab):
    """By b, who knows of nothing in it: it lives on, with what a has in it."""
    lab.act(lab.b, lambda c: c.delete("Three"))
    util.poll("it is there again", lambda: lab.there(lab.b).get(".Three") == [])
    lab.pair.wait_in_sync(timeout=30)
    lab.t.equal(lab.there(lab.a).get(".Three"), [BAD], "what a has in it")


def killed(lab):
    lab.a.kill("syncd")
    lab.a.start("syncd")
    lab.pair.wait_in_sync(timeout=30)
    lab.t.equal(lab.there(lab.a).get(".Three"), [BAD], "what a has in it")
    lab.sent.append(lab.b.deliver(lab.user, mail.message()))
    lab.pair.wait_in_sync(timeout=30)


def story(t, pair, disk):
    lab = Lab(t, pair, disk)
    begin(lab)
    renamed(lab)
    copied(lab)
    deleted(lab)
    killed(lab)
    disk.disarm()
    pair.cut_link(silent=False)
    for node in pair.nodes:
        node.wait_state("alone")
    pair.heal_link()
    pair.wait_in_sync(timeout=30)
    util.poll(lambda: "nothing that cannot be read: %s" % lab.a.status(), lambda: not lab.a.status()["unread"], 20)
    pair.wait_in_sync(timeout=30)
    compare.wait_equal(pair, lab.user)
    t.equal(lab.there(lab.a), lab.there(lab.b), "folders")
    t.equal(lab.there(lab.b)[".Three"], [BAD], "the folder")
    lab.act(lab.b, lambda c: c.delete("Three"))
    lab.pair.wait_path(lab.a, lab.user, "Maildir", ".Three", there=False)
    pair.wait_in_sync(timeout=30)


def test(t):
    t.needs_mailfs()
    with points.armed("unread") as directory, Pair(timeout=2, postfix=False, start=False) as pair:
        try:
            every = {(n, d): points.Points(directory, n, d) for n in pair.nodes for d in points.PROGRAMS}
            util.parallel(*(n.start for n in pair.nodes))
            pair.wait_in_sync()
            story(t, pair, every[pair.a, "syncd"])
        except BaseException:
            pair.report_failure()
            raise


case.main(test, own="none", seconds=120)
