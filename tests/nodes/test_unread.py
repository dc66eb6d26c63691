#!/usr/bin/env python3
"""Messages, and a file, that one node has and cannot read: all else goes on, in sync; they are restored, removed, or readable again."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402

BAD = "1700000001.M1P1.badblock"


def path(node, user, name=BAD):
    """Where a message is, below the mount; None: nowhere."""
    for sub in ("new", "cur"):
        for entry in os.listdir(node.stored(user, "Maildir", sub)):
            if entry.split(":")[0] == name:
                return node.home(user, "Maildir", sub, entry)
    return None


def put(node, user, text, to):
    """A file of the user's, under this name on the mount."""
    owner = os.stat(node.home(user, "Maildir"))
    tmp = node.home(user, "Maildir", "tmp", "put")
    with open(tmp, "wb") as f:
        f.write(text)
    os.chown(tmp, owner.st_uid, owner.st_gid)
    os.rename(tmp, to)


class Lab:
    def __init__(self, t, pair, directory):
        self.t, self.pair = t, pair
        self.a, self.b = pair.nodes
        every = {n: {d: points.Points(directory, n, d) for d in points.PROGRAMS} for n in pair.nodes}
        self.disk = every[self.a]["syncd"]
        util.parallel(*(n.start for n in pair.nodes))
        pair.wait_in_sync()
        self.users = [pair.user("unread") for _ in range(3)]
        self.sent = {user: [] for user in self.users}
        self.bad = {user: mail.message("bad", size=3000) for user in self.users}
        self.shown = {user: {} for user in self.users}

    def rows(self, node, user):
        return compare.parse_uidlist(node.stored(user, "Maildir", "dovecot-uidlist"))[2]

    def uid(self, node, user):
        return next((u for u, name in self.rows(node, user).items() if name == BAD), None)

    def number(self, *nodes):
        """Clients look at the mailboxes; no UID has ever been another message's."""
        for user in self.users:
            for node in nodes:
                with node.imap(user, mailbox="INBOX"):
                    pass
                for uid, name in self.rows(node, user).items():
                    known = self.shown[user].setdefault(uid, name)
                    self.t.check(known == name, "%s: UID %d of %s is %s, and was %s", node.host, uid, user, name, known)

    def deliver(self):
        for user in self.users:
            self.sent[user] += [n.deliver(user, mail.message("good")) for n in self.pair.nodes]

    def alike(self):
        """Both have all that was sent, with the same UIDs."""
        for user in self.users:
            for node in self.pair.nodes:
                compare.wait_has(node, user, self.sent[user])
            util.poll(lambda u=user: "the same UIDs for %s: %s" % (u, [self.rows(n, u) for n in self.pair.nodes]),
                      lambda u=user: len({str(sorted((uid, name) for uid, name in self.rows(n, u).items()
                                                     if name != BAD)) for n in self.pair.nodes}) == 1)

    def told(self, users):
        """Status of a names these, and says what to do."""
        def unread():
            status = self.a.status() or {}
            return status.get("unread_count") == len(users) and sorted(
                (u["mailbox"], u["message"]) for u in status["unread"]) == sorted(
                    ("/%s/Maildir" % user, BAD) for user in users)
        util.poll(lambda: "status names what cannot be read: %s" % self.a.status(), unread, 15)
        notes = [n for n in self.a.status()["notes"] if BAD in n]
        self.t.check(len(notes) == len(users) and all("restore" in n for n in notes), "notes: %s", notes)

    def in_sync(self):
        self.pair.wait_in_sync(timeout=30)

    def apart(self, what):
        self.pair.cut_link(silent=False)
        for node in self.pair.nodes:
            node.wait_state("alone")
        what()
        self.pair.heal_link()


def begin(lab):
    """b lacks a message that a cannot read, and others."""
    def alone():
        for user in lab.users:
            put(lab.a, user, lab.bad[user], lab.a.home(user, "Maildir", "new", BAD))
        lab.deliver()
        lab.number(lab.a, lab.b)
        lab.disk.unreadable("badblock")
    lab.apart(alone)
    lab.in_sync()
    lab.t.check(lab.disk.control.done, "it was never read")
    lab.told(lab.users)


def goes_on(lab):
    """Deliveries, flags, also of the message itself, UIDs."""
    lab.deliver()
    lab.number(lab.b, lab.a)
    lab.alike()
    user = lab.users[0]
    with lab.a.imap(user, mailbox="INBOX") as client:
        client.store("1:*", "+FLAGS", "\\Flagged")
    util.poll("the flags on b", lambda: all(
        "F" in n.partition(":2,")[2] for n in os.listdir(lab.b.stored(user, "Maildir", "cur"))))
    lab.t.check("F" in path(lab.a, user).partition(":2,")[2], "a: no flag: %s", path(lab.a, user))
    lab.in_sync()
    for user in lab.users:
        lab.t.check(path(lab.b, user) is None and lab.uid(lab.b, user) is None, "b has it")
        lab.t.check(path(lab.a, user) is not None, "a has it no more")


def arrives(lab):
    """One comes while the nodes are in sync: nobody waits for it, and they are in sync again."""
    user = lab.pair.user("late")
    put(lab.a, user, mail.message("late"), lab.a.home(user, "Maildir", "new", BAD))
    lab.told(lab.users + [user])
    lab.in_sync()
    with lab.a.imap(user, mailbox="INBOX") as client:
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    lab.told(lab.users)
    lab.in_sync()


def kept(lab):
    """When both were alone, and over an orderly stop of syncd, which clears the marks of all that both have. Its UID
    stays."""
    uids = [lab.uid(lab.a, user) for user in lab.users]
    lab.a.daemon("syncd").stop()
    lab.a.start("syncd")
    lab.in_sync()
    lab.told(lab.users)

    def alone():
        lab.deliver()
        lab.number(lab.a, lab.b)
    lab.apart(alone)
    lab.in_sync()
    lab.told(lab.users)
    lab.number(lab.a, lab.b)
    lab.alike()
    lab.t.equal([lab.uid(lab.a, user) for user in lab.users], uids, "UIDs of what cannot be read")
    return uids


def end(lab, uids):
    """One is removed, one restored; one can be read again, which is found out at the next contact at the latest."""
    lab.disk.disarm()
    os.unlink(path(lab.a, lab.users[1]))
    put(lab.a, lab.users[2], lab.bad[lab.users[2]], path(lab.a, lab.users[2]))
    lab.apart(lambda: None)
    lab.told([])
    lab.in_sync()
    for user in (lab.users[0], lab.users[2]):
        lab.pair.wait_path(lab.b, user, "Maildir", "cur", os.path.basename(path(lab.a, user)))
        lab.sent[user].append(mail.message_id(lab.bad[user]))
    lab.number(lab.a, lab.b)
    lab.alike()
    lab.t.check(path(lab.b, lab.users[1]) is None, "what was removed is on b")
    for i in (0, 2):
        found = {lab.uid(n, lab.users[i]) for n in lab.pair.nodes}
        lab.t.check(len(found) == 1 and min(found) > uids[i], "UIDs of what was unread: %s, was %d", found, uids[i])
    for user in lab.users:
        compare.assert_has(compare.wait_equal(lab.pair, user), lab.sent[user], exactly=True)


def twins(lab):
    """Both gave two messages one name and one UID, and one of them cannot be read."""
    user, shown = lab.pair.user("twin"), {}
    texts = {node: mail.message("twin", size=size) for node, size in zip(lab.pair.nodes, (2000, 3000))}

    def look(node):
        with node.imap(user, mailbox="INBOX"):
            pass
        validity, _, rows = compare.parse_uidlist(node.stored(user, "Maildir", "dovecot-uidlist"))
        for uid, name in rows.items():
            with open(path(node, user, name), "rb") as f:
                text = f.read()
            lab.t.check(shown.setdefault((validity, uid), text) == text, "%s: UID %d is another message", node.host, uid)
        return sorted(rows.values())

    def alone():
        for node, text in texts.items():
            put(node, user, text, node.home(user, "Maildir", "new", BAD))
            look(node)
        lab.disk.unreadable("badblock")

    lab.apart(alone)
    lab.in_sync()
    names = look(lab.a)
    lab.t.equal((len(names), names[0], look(lab.b)), (2, BAD, [BAD]), "names")
    lab.t.equal([u["message"] for u in lab.a.status()["unread"]], names[1:], "what cannot be read")
    lab.disk.disarm()
    lab.apart(lambda: None)
    lab.in_sync()
    compare.assert_has(compare.wait_equal(lab.pair, user), [mail.message_id(text) for text in texts.values()],
                       exactly=True)
    lab.t.equal((look(lab.a), look(lab.b)), (names, names), "names")


def script(lab):
    """A file that is no message: each node has what it has, in sync, until it can be read."""
    user, name, text = lab.pair.user("script"), "badblock.sieve", b"keep;\n"

    def told(count):
        util.poll(lambda: "status names the file: %s" % lab.a.status(), lambda: [
            (u["mailbox"], u["file"]) for u in lab.a.status()["unread"]] == [("/%s/Maildir" % user, name)] * count, 15)
        lab.in_sync()

    def alone():
        put(lab.a, user, text, lab.a.home(user, "Maildir", name))
        lab.sent[user] = [n.deliver(user, mail.message()) for n in lab.pair.nodes]
        lab.disk.unreadable("badblock")

    lab.apart(alone)
    told(1)
    lab.a.daemon("syncd").stop()
    lab.a.start("syncd")
    lab.in_sync()
    told(1)
    put(lab.a, user, text * 2, lab.a.home(user, "Maildir", name)) # while they are in sync
    lab.sent[user] += [n.deliver(user, mail.message()) for n in lab.pair.nodes]
    told(1)
    lab.t.check(not os.path.exists(lab.b.stored(user, "Maildir", name)), "b has %s", name)
    for node in lab.pair.nodes:
        compare.wait_has(node, user, lab.sent[user])
    lab.disk.disarm()
    lab.apart(lambda: None)
    lab.pair.wait_path(lab.b, user, "Maildir", name)
    told(0)
    with open(lab.b.stored(user, "Maildir", name), "rb") as f:
        lab.t.equal(f.read(), text * 2, name)
    compare.assert_has(compare.wait_equal(lab.pair, user), lab.sent[user], exactly=True)


def story(t, directory):
    with Pair(timeout=2, postfix=False, start=False) as pair:
        try:
            lab = Lab(t, pair, directory)
            begin(lab)
            goes_on(lab)
            arrives(lab)
            end(lab, kept(lab))
            twins(lab)
            script(lab)
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    with points.armed("unread") as directory:
        story(t, directory)


case.main(test, own="none", seconds=120)
