#!/usr/bin/env python3
"""Partition, both sides go on: folders, subscriptions, other files (DESIGN 8.7, 8.11), then contact."""

import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import apart, case, mail, util  # noqa: E402

# All that may be below a user's home: no conflict file among mail.
KNOWN = re.compile(r"^(Maildir|sieve|\.dovecot\.sieve|sieve/[a-z]+\.sieve|tree(/.*)?|"
                   r"Maildir/(\.[A-Za-z0-9. -]+/?)?((cur|new|tmp)(/\d+\.[^/]*)?|maildirfolder|maildirsize|"
                   r"subscriptions|dovecot-uidlist|dovecot-keywords|dovecot-uidvalidity(\.[0-9a-f]+)?)?)$")


def owned(path, text=None, to=None):
    """Make a directory, a file, or a symbolic link of the mail user's."""
    if to:
        os.symlink(to, path + ".new")
        os.lchown(path + ".new", 5000, 5000)
        os.rename(path + ".new", path)
    elif text is None:
        os.mkdir(path)
        os.chown(path, 5000, 5000)
    else:
        with open(path + ".new", "w") as f:
            f.write(text)
        os.chown(path + ".new", 5000, 5000)
        os.rename(path + ".new", path)


class Folders(apart.Story):
    def meet(self):
        super().meet()
        for node in self.test.pair.nodes:
            home = node.stored(self.user)
            for where, dirs, files in os.walk(home):
                for name in dirs + files:
                    path = os.path.relpath(os.path.join(where, name), home)
                    self.test.check(KNOWN.match(path), "%s: %s: unknown: %s", node.host, self.user, path)

    def folders_now(self):
        return sorted(self.view["folders"])


class Created(Folders):
    """The same name on both sides: one folder, with the mail of both."""

    def apart(self, node):
        with node.imap(self.user) as client:
            for name in ("Junk", "Sent"):
                client.create(name)
                # each node hands out its own: no (UIDVALIDITY, UID) names one mail here, another there
                self.test.equal(client.select(name)["uidvalidity"] % 2, int(node.letter == "a"),
                                "whose UIDVALIDITY %s has on %s" % (name, node.letter))
            # of a mailbox that has not changed for long Dovecot does not look at the list
            for part in ("new", "cur"):
                os.utime(node.home(self.user, "Maildir", ".Junk", part), (1700000000,) * 2)
            client.select("Junk")
            client.subscribe("Sent")
            self.append(client, "Sent", "sent at " + node.letter, "\\Seen")
            self.append(client, "Sent", "also at " + node.letter)

    def after(self):
        self.test.equal(self.folders_now(), ["INBOX", "Junk", "Sent"], "folders")
        self.test.equal(self.names("Sent"), ["also at a", "also at b", "sent at a", "sent at b"], "Sent")
        self.test.equal(self.flags("sent at b", "Sent"), {"\\Seen"}, "flags of what b sent")
        self.test.equal(self.view["subscribed"], ["Sent"], "subscribed")


class RenamedTwice(Folders):
    """Two names: one of them stays, with the mail of both sides."""

    folders = ("R",)

    def before(self):
        with self.test.a.imap(self.user) as client:
            self.append(client, "R", "old")

    def apart(self, node):
        with node.imap(self.user) as client:
            client.rename("R", "R" + node.letter)
            self.append(client, "R" + node.letter, "new at " + node.letter)

    def after(self):
        left = [f for f in self.folders_now() if f.startswith("R")]
        self.test.check(left in (["Ra"], ["Rb"]), "R has become %s", left)
        self.test.equal(self.names(left[0]), ["new at a", "new at b", "old"], left[0])


class RenamedDeleted(Folders):
    """Renamed here, deleted there: it lives under its new name."""

    folders = ("K", "L")

    def before(self):
        with self.test.a.imap(self.user) as client:
            for folder in self.folders:
                self.append(client, folder, "old in " + folder)

    def apart(self, node):
        on_a = node is self.test.a
        with node.imap(self.user) as client:
            client.rename("K" if on_a else "L", "New" + ("K" if on_a else "L"))
            if on_a:
                self.append(client, "NewK", "new")
            client.delete("L" if on_a else "K")

    def after(self):
        self.test.equal(self.folders_now(), ["INBOX", "NewK", "NewL"], "folders")
        self.test.check("new" in self.names("NewK"), "what was put into it is gone")


class DeletedDelivered(Folders):
    """A delivery beats the deletion of the mailbox; without one it is gone."""

    folders = ("Del", "Gone", "Both")
    reborn = ("Del",)

    def before(self):
        with self.test.a.imap(self.user) as client:
            for folder in self.folders:
                self.append(client, folder, "old in " + folder)

    def apart(self, node):
        with node.imap(self.user) as client:
            if node is self.test.a:
                client.delete("Del")
                client.delete("Gone")
            else:
                self.append(client, "Del", "late")
                client.select("Gone")       # looked at, nothing more
            client.delete("Both")

    def after(self):
        self.test.equal(self.folders_now(), ["Del", "INBOX"], "folders")
        self.test.equal(self.names("Del"), ["late"], "Del")


class DeletedShown(Folders):
    """Deleted by a node that had shown UIDs in it while alone, and alive: they name nothing else.

    b has the token, so a leaves a gap, and b's list goes on below it, as if those numbers were free.
    """

    folders = reborn = ("Shown",)

    def before(self):
        for node in self.test.pair.nodes:
            with node.imap(self.user) as client:
                self.append(client, "Shown", "old at " + node.letter)

    def apart(self, node):
        client = node.imap(self.user)
        self.append(client, "Shown", "new at " + node.letter)
        validity = client.select("Shown")["uidvalidity"]
        seen = apart.bodies(client)
        self.witness.look(node.host, self.user, "Shown", validity, seen)
        if node is self.test.a:
            self.shown = validity, max(seen)
            client.delete("Shown")
            client.close()
        else:
            self.connected = client, validity

    def after(self):
        self.test.equal(self.names("Shown"), ["new at b"], "Shown")
        validity, rows = self.view["folders"]["Shown"]
        self.test.check(validity != self.shown[0], "goes on under UIDVALIDITY %d, with UIDs %s; a had shown "
                        "up to %d", validity, sorted(rows), self.shown[1])
        self.test.equal(validity % 2, 1, "whose UIDVALIDITY it has")
        client, before = self.connected
        try:
            self.witness.look("b (connected)", self.user, "Shown", before, apart.bodies(client))
        except (util.Fail, OSError):
            pass    # it has been told BYE, as it should be
        for node in self.test.pair.nodes:
            with node.imap(self.user) as new:
                self.append(new, "Shown", "later at " + node.letter)
                self.witness.look(node.host, self.user, "Shown", new.select("Shown")["uidvalidity"],
                                  apart.bodies(new))
        self.test.wait_equal(self.user)


class DeletedParent(Folders):
    """A whole tree deleted there; here a mailbox was made in it, another delivered to.

    By directories: what Dovecot lists of a Maildir++ parent that is gone differs from node to node
    even on one plain directory, as its list index knows seconds only.
    """

    def mailbox(self, node, *path):
        for name in ("", "cur", "new", "tmp"):
            owned(node.home(self.user, "tree", *path, name).rstrip("/"))

    def message(self, node, name, *path):
        where = node.home(self.user, "tree", *path)
        text = mail.message(name, ident=name + "@" + self.user)
        owned(os.path.join(where, "tmp", name), text.decode())
        os.rename(os.path.join(where, "tmp", name), os.path.join(where, "new", name))

    def before(self):
        owned(self.test.a.home(self.user, "tree"))
        for name in ("p", "p/sub", "p/old", "p/old/deep"):
            self.mailbox(self.test.a, name)
            self.message(self.test.a, "1.first", name)
        self.test.pair.wait_path(self.test.b, self.user, "tree/p/old/deep/new/1.first")

    def apart(self, node):
        if node is self.test.a:
            shutil.rmtree(node.home(self.user, "tree", "p"))
        else:
            self.mailbox(node, "p/made")
            self.message(node, "2.made", "p/made")
            self.message(node, "3.late", "p/sub")

    def after(self):
        for node in self.test.pair.nodes:
            top = node.stored(self.user, "tree")
            found = [os.path.relpath(os.path.join(where, name), top)
                     for where, _dirs, files in os.walk(top) for name in files]
            self.test.equal(sorted(found), ["p/made/new/2.made", "p/sub/new/3.late"], node.host)
            boxes = [os.path.relpath(where, top) for where, dirs, _files in os.walk(top) if "cur" in dirs]
            self.test.equal(sorted(boxes), ["p", "p/made", "p/sub"], "mailboxes on " + node.host)


class Anew(Folders):
    """Deleted and made anew on one side, delivered to on the other: nothing delivered is lost."""

    folders = reborn = ("Again",)

    def before(self):
        with self.test.a.imap(self.user) as client:
            self.append(client, "Again", "old")

    def apart(self, node):
        with node.imap(self.user) as client:
            if node is self.test.a:
                client.delete("Again")
                client.create("Again")
            self.append(client, "Again", "new at " + node.letter)

    def after(self):
        found = [self.names(f) for f in self.folders_now() if f != "INBOX"]
        # the old one as well: of a folder that is another now there is no common base
        self.test.equal(sorted(sum(found, [])), ["new at a", "new at b", "old"], "in %s" % self.folders_now())


class Circle(Folders):
    """Two directories moved into each other: a tree again, with all that was in it."""

    def before(self):
        for name in ("tree", "tree/x", "tree/y"):
            owned(self.test.a.home(self.user, name))
        for name in ("x", "y"):
            owned(self.test.a.home(self.user, "tree", name, "file-" + name), name)
            self.test.pair.wait_path(self.test.b, self.user, "tree", name, "file-" + name)

    def apart(self, node):
        one, other = ("x", "y") if node is self.test.a else ("y", "x")
        os.rename(node.home(self.user, "tree", one), node.home(self.user, "tree", other, one))

    def after(self):
        top = self.test.a.stored(self.user, "tree")
        found = [f for _where, _dirs, files in os.walk(top) for f in files]
        self.test.equal(sorted(found), ["file-x", "file-y"], "files in %s" % os.listdir(top))


class Subscriptions(Folders):
    folders = ("s0", "s1", "s2", "s3", "s4")

    def before(self):
        with self.test.a.imap(self.user) as client:
            for folder in ("s0", "s1", "s2"):
                client.subscribe(folder)

    def apart(self, node):
        with node.imap(self.user) as client:
            client.subscribe("s0" if node is self.test.a else "s1", False)
            client.subscribe("s3" if node is self.test.a else "s4")

    def after(self):
        self.test.equal(self.view["subscribed"], ["s2", "s3", "s4"], "subscribed")


class Scripts(Folders):
    """Other files: the newest wins, whole; the loser is kept, and `status` says where."""

    def before(self):
        owned(self.test.a.home(self.user, "sieve"))
        for name in ("both", "older", "one"):
            owned(self.test.a.home(self.user, "sieve", name + ".sieve"), "# first\n")
        owned(self.test.a.home(self.user, ".dovecot.sieve"), to="sieve/one.sieve")
        self.test.pair.wait_path(self.test.b, self.user, ".dovecot.sieve")

    def apart(self, node):
        on_a = node is self.test.a
        for name, older in (("both", on_a), ("older", not on_a)):
            path = node.home(self.user, "sieve", name + ".sieve")
            owned(path, "# by %s, %s\n" % (node.letter, self.user))
            stamp = os.stat(path).st_mtime_ns - (3600 * 10**9 if older else 0)
            os.utime(path, ns=(stamp, stamp))
        if on_a:
            owned(node.home(self.user, "sieve", "new.sieve"), "# new\n")
            owned(node.home(self.user, ".dovecot.sieve"), to="sieve/new.sieve")

    def read(self, node, name):
        with open(node.stored(self.user, "sieve", name + ".sieve")) as f:
            return f.read()

    def kept(self):
        """What is in kept/ for the administrator, on both nodes."""
        found = []
        for node in self.test.pair.nodes:
            where = os.path.join(node.store, ".mailfs", "kept")
            for name in os.listdir(where):
                if name.startswith("l-"):
                    with open(os.path.join(where, name)) as f:
                        found.append(f.read())
        return [text for text in found if self.user in text]

    def after(self):
        self.test.equal(self.read(self.test.a, "both"), "# by b, %s\n" % self.user, "both.sieve")
        self.test.equal(self.read(self.test.a, "older"), "# by a, %s\n" % self.user, "older.sieve")
        self.test.equal(os.readlink(self.test.b.stored(self.user, ".dovecot.sieve")), "sieve/new.sieve",
                        "the active script")
        self.test.equal(set(self.kept()), {"# by a, %s\n" % self.user, "# by b, %s\n" % self.user}, "kept")
        said = [node.mailfs.ctl("status").stdout for node in self.test.pair.nodes]
        self.test.check(all("kept" in text for text in said), "status does not tell of it: %s", said)


def test(t):
    # of a folder that both made there have been two; one that lives on has another
    t.forgive(r"UIDVALIDITY changed")
    apart.tell(t, (Created, RenamedTwice, RenamedDeleted, DeletedDelivered, DeletedShown, DeletedParent, Anew, Circle,
                   Subscriptions, Scripts), lambda: t.pair.cut_link(silent=True))


case.main(test)
