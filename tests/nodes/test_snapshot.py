#!/usr/bin/env python3
"""A snapshot of a busy volume: every message that was there, uidlists that fit them; what is removed
afterwards is in it still, and a mailbox restored from it has the UIDs that clients had seen."""

import os
import random
import sys
import tempfile
import threading
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, imap, mail, storm, util  # noqa: E402

FOLDERS = ("INBOX", "Work")
SNAPSHOTS = 4


class Life:
    """What was acknowledged of a user's mail at `at`, and when: {Message-ID: time} of arrival and removal.

    What is acknowledged at the other node is durable here, and in the store a moment later.
    """

    def __init__(self, user, at):
        self.user, self.at, self.going, self.lock = user, at, True, threading.Lock()
        self.came, self.going_away, self.gone = {}, {}, {}
        self.seen, self.moved = {}, set()   # with a UID, since when; at any time
        self.witness = storm.Witness()

    def deliver(self, node):
        while self.going:
            ident = node.deliver(self.user, mail.message("while", size=800))
            if node is self.at:
                with self.lock:
                    self.came[ident] = util.now()

    def act(self, node):
        """Flags, moves from here to there and back, and expunges; of half of the messages at each node, so
        that nobody moves what another one expunges."""
        rand, half = random.Random(node.host), node is self.at
        with node.imap(self.user) as client:
            while self.going:
                for folder, other in (FOLDERS, FOLDERS[::-1]):
                    validity = client.select(folder)["uidvalidity"]
                    ids = {u: i for u, i in client.ids().items() if i}
                    self.witness.look(node.host, self.user, folder, validity, ids)
                    if node is self.at:
                        with self.lock:
                            self.seen.update((i, util.now()) for i in ids.values() if i not in self.seen)
                    mine = [(u, i) for u, i in sorted(ids.items()) if (zlib.crc32(i.encode()) % 2 == 0) == half]
                    for uid, ident in rand.sample(mine, min(3, len(mine))):
                        self.one(node, client, rand.randrange(4), uid, ident, other)

    def one(self, node, client, what, uid, ident, other):
        if what < 2:
            client.store(uid, "+FLAGS.SILENT", ("\\Seen", "$Label")[what])
        elif what == 2:
            self.moved.add(ident)
            client.move(uid, other)
        else:
            with self.lock:
                self.going_away.setdefault(ident, util.now())
            client.store(uid, "+FLAGS.SILENT", "\\Deleted")
            client.expunge(uid)
            if node is self.at:
                with self.lock:
                    self.gone.setdefault(ident, util.now())


def folder_dir(top, user, folder):
    return os.path.join(top, user, "Maildir", "" if folder == "INBOX" else "." + folder)


def look(t, life, top, began):
    """{Message-ID: folders} of a snapshot; each message's UID is the one that clients saw, and is there if it
    was seen before the snapshot began."""
    found = {}
    for folder in FOLDERS:
        where = folder_dir(top, life.user, folder)
        validity, following, rows = compare.parse_uidlist(os.path.join(where, "dovecot-uidlist"))
        t.check(all(uid < following for uid in rows), "%s: next UID %d", where, following)
        by_base, ids = {base: uid for uid, base in rows.items()}, {}
        for sub in ("new", "cur"):
            for name in os.listdir(os.path.join(where, sub)):
                with open(os.path.join(where, sub, name), "rb") as f:
                    ident = imap.header_id(f.read())
                found.setdefault(ident, []).append(folder)
                if name.split(":")[0] in by_base:
                    ids[by_base[name.split(":")[0]]] = ident
                elif ident not in life.moved:
                    t.check(life.seen.get(ident, began) >= began, "%s: no UID for %s", where, name)
        life.witness.look("snapshot", life.user, folder, validity, ids)
        t.equal(os.listdir(os.path.join(where, "tmp")), [], "tmp/ of " + where)
    return found


def judge(t, life, top, began, ended):
    found = look(t, life, top, began)
    with life.lock:
        must = {i for i, at in life.came.items() if at < began and life.going_away.get(i, ended) >= ended}
        never = {i for i, at in life.gone.items() if at < began}
    t.check(must <= set(found), "%s lacks %s", top, must - set(found))
    t.check(not never & set(found), "%s has what was expunged before: %s", top, never & set(found))
    t.check(must, "nothing to judge by")
    return must


def snapshot(node, *args, check=True):
    return node.mailfs.ctl("snapshot", *args, check=check)


def under_load(t, life, names):
    """Snapshots on a while both nodes work; judged when all have been made."""
    makers = [util.Thread(life.deliver, n) for n in t.pair.nodes]
    makers += [util.Thread(life.act, n) for n in t.pair.nodes]
    util.poll("mail to begin with", lambda: len(life.came) > 20 and len(life.gone) > 3, 40)
    times = {}
    try:
        for name in names:
            before = len(life.came)
            began = util.now()
            snapshot(t.a, "create", name)
            times[name] = began, util.now()
            util.poll("more mail", lambda n=before: len(life.came) > n + 5)
    finally:
        life.going = False
        for thread in makers:
            thread.join()
    return times


def restore(t, life, top):
    """Copied back through the mount under another name: UIDs as they were."""
    user = life.user + "-restored"
    t.a.run("cp", "-a", os.path.join(top, life.user), t.a.home(user))
    view = t.wait_equal(user)
    for folder in FOLDERS:
        where = folder_dir(top, life.user, folder)
        validity, _next, rows = compare.parse_uidlist(os.path.join(where, "dovecot-uidlist"))
        bases = {n.split(":")[0] for sub in ("new", "cur") for n in os.listdir(os.path.join(where, sub))}
        shown = view["folders"][folder]
        t.equal(shown[0], validity, "UIDVALIDITY of " + folder)
        t.equal(len(shown[1]), len(bases), "messages of " + folder)
        want = {uid for uid, base in rows.items() if base in bases}
        t.check(want <= set(shown[1]), "%s: UIDs %s are others now", folder, want - set(shown[1]))
        life.witness.look("restored", life.user, folder, validity,
                          {u: row[1] for u, row in shown[1].items() if u in want})
        t.check(not any(flag.startswith("unknown") for row in shown[1].values() for flag in row[0]),
                "%s: keywords without a name", folder)


def expunge_all(t, life):
    with t.b.imap(life.user) as client:
        for folder in FOLDERS:
            client.select(folder)
            client.store("1:*", "+FLAGS.SILENT", "\\Deleted")
            client.expunge()
    view = t.wait_equal(life.user)
    t.equal([len(rows) for _v, rows in view["folders"].values()], [0, 0], "messages left")


def test(t):
    t.needs_mailfs()
    # of a message that is moved out and in again Dovecot can have both lines in its list, and says so
    t.forgive("Duplicate file entry")
    life = Life(t.pair.user("snap", ("Work",)), t.a)
    names = ["snap-%d" % n for n in range(SNAPSHOTS)]
    times = under_load(t, life, names)
    must = {}
    point = tempfile.mkdtemp(dir=t.a.dir)
    for name in names:
        snapshot(t.a, "mount", name, point)
        try:
            must[name] = judge(t, life, point, *times[name])
            if name == names[-1]:
                restore(t, life, point)
            t.equal(snapshot(t.a, "remove", name, check=False).returncode, 1, "remove of a mounted one")
            try:
                os.unlink(os.path.join(point, life.user, "Maildir", "dovecot-uidlist"))
                t.check(False, "the mount of a snapshot is writable")
            except OSError:
                pass
        finally:
            t.a.run("umount", point)
    expunge_all(t, life)
    there = snapshot(t.a, "list").stdout
    for name in names:
        t.check(name in there, "list: %s", there)
        top = os.path.join(t.a.store, ".mailfs", "snapshots", name)
        t.check(must[name] <= set(look(t, life, top, times[name][0])), "%s has lost mail", name)
        snapshot(t.a, "remove", name)
    t.check(not os.path.exists(os.path.join(t.b.store, ".mailfs", "snapshots")), "b has one as well")
    t.check(not os.path.exists(os.path.join(t.a.mount, ".mailfs")), ".mailfs shows in the mount")
    longest = max(ended - began for began, ended in times.values())
    t.figure("%d came, %d went; %d snapshots, the longest took %.2f s", len(life.came), len(life.gone),
             SNAPSHOTS, longest)


case.main(test, own=True, brake="0", postfix=False)   # it expunges everything in the end
