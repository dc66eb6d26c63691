#!/usr/bin/env python3
"""State lost on one node, on both; a store restored without xattrs, from a backup, copied to both (DESIGN 8.16).

Each time everything is compared, nothing that either node has is lost, UIDs stay, and `status` says so.
"""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, storm, util  # noqa: E402


def lose_state(node):
    """Base and marks.  The key stays, or the peer would have to be told a new fingerprint."""
    for name in ("base", "marks"):
        shutil.rmtree(os.path.join(node.mailfs.state, name))


def set_store(node, source, *options):
    """This node's store becomes a copy of that directory."""
    new = node.store + ".new"
    subprocess.run(["cp", "-R", *options, source, new], check=True)
    os.rename(node.store, node.store + ".old")
    os.rename(new, node.store)
    shutil.rmtree(node.store + ".old")


class Lives:
    """Mail of a user over all these events."""

    def __init__(self, t):
        self.t, self.witness = t, storm.Witness()
        self.user = t.pair.user("lost", ("Folder", "Other"))
        self.ids = {t.a.deliver(self.user, mail.message("first %d" % i)) for i in range(6)}
        with t.a.imap(self.user, mailbox="INBOX") as client:
            client.store("1", "+FLAGS", "\\Flagged Red")
            client.store("2", "+FLAGS", "\\Seen")
            client.copy("3:4", "Folder")
            client.subscribe("Folder")
        self.view = t.wait_equal(self.user)
        self.look()

    def look(self):
        for folder, (validity, rows) in self.view["folders"].items():
            self.witness.look("view", self.user, folder, validity, {u: r[1] for u, r in rows.items()})

    def act(self, node, deliver=True):
        """Something new, something flagged, at this node alone."""
        if deliver:
            self.ids.add(node.deliver(self.user, mail.message("at %s" % node.host)))
        with node.imap(self.user, mailbox="INBOX") as client:
            client.store("5", "+FLAGS", "\\Answered")

    def check(self, what):
        before = self.view
        self.view = self.t.wait_equal(self.user, timeout=20)
        compare.assert_has(self.view, self.ids)
        compare.assert_no_duplicates(self.view)
        self.look()
        for folder, (validity, _rows) in before["folders"].items():
            self.t.check(folder in self.view["folders"], "%s: %s is gone", what, folder)
            self.t.equal(self.view["folders"][folder][0], validity, "%s: UIDVALIDITY of %s" % (what, folder))
        rows = self.view["folders"]["INBOX"][1]
        self.t.check({"\\Flagged", "Red"} <= set(rows[1][0]), "%s: flags of UID 1: %s", what, rows[1][0])
        self.t.check("\\Answered" in rows[5][0], "%s: flags of UID 5: %s", what, rows[5][0])
        self.t.equal(len(self.view["folders"]["Folder"][1]), 2, "%s: messages in Folder" % what)
        self.t.equal(self.view["subscribed"], ["Folder"], "%s: subscribed" % what)


def event(t, lives, what, nodes, change, says=True):
    """These nodes die, are changed, and come back; the other one serves on meanwhile."""
    for node in nodes:
        node.crash(silent=False)
    for node in t.pair.nodes:
        node.space.drop(False)
        if node not in nodes:
            node.wait_state("alone")
            lives.act(node)
    change()
    # alone at first, so that there is something on the changed one that only it has
    t.pair.cut_link(silent=False)
    for node in nodes:
        node.start()
        lives.act(node)
    for node in nodes if says else ():
        said = (node.status() or {}).get("notes")
        t.check(any("everything is compared" in note for note in said or ()), "%s: status of %s says: %s", what, node.host, said)
    start = util.now()
    t.pair.heal_link()
    t.pair.wait_in_sync()
    lives.check(what)
    t.figure("%s %.1f s", what, util.now() - start)


def backup(t, lives):
    """A store of an hour ago: what came since comes back from the other node."""
    saved = os.path.join(t.pair.run_dir, "backup")
    t.a.stop("dovecot", "mailfs", "syncd")
    subprocess.run(["cp", "-a", t.a.store, saved], check=True)
    t.a.start()
    t.pair.wait_in_sync()
    lives.act(t.a)
    t.wait_equal(lives.user)
    # and the state has gone on: a clean stop ends with a checkpoint
    t.a.stop("dovecot", "mailfs", "syncd")
    t.a.start()
    t.pair.wait_in_sync()
    return saved


def test(t):
    t.needs_mailfs()
    lives = Lives(t)
    event(t, lives, "state lost on a", [t.a], lambda: lose_state(t.a))
    event(t, lives, "on b", [t.b], lambda: lose_state(t.b))
    event(t, lives, "on both", [t.a, t.b], lambda: [lose_state(n) for n in t.pair.nodes])
    event(t, lives, "no xattrs", [t.a], lambda: set_store(t.a, t.a.store, "--preserve=mode,ownership,timestamps,links"),
          says=False)
    saved = backup(t, lives)
    event(t, lives, "from a backup", [t.a], lambda: set_store(t.a, saved, "--preserve=all"))
    event(t, lives, "copied to b", [t.a, t.b], lambda: set_store(t.b, t.a.store, "--preserve=all"), says=False)


case.main(test, own=True, postfix=False, seconds=120)
