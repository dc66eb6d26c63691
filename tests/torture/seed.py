#!/usr/bin/env python3
"""A second server is filled with 200,000 messages while mail flows on both, and the link is cut ten times.

    make torture-seed [MESSAGES=200000] [CUTS=10]

In the end: nothing acknowledged lacks on either node, nothing was removed, no UID names another message,
each mailbox has the UIDVALIDITY it had, both stores are the same, and what had come before a cut did not come again.
"""

import json
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, dovecot, mail, storm, util  # noqa: E402

MESSAGES = int(os.environ.get("MESSAGES") or 200000)
CUTS = int(os.environ.get("CUTS") or 10)
USERS, LARGE = 40, 10       # the first user has a tenth of all mail
SIZE, VALIDITY = 2000, 1600000000
SECONDS = 7200


def user(n):
    return "seed%d" % n


def fill(node):
    """A server's mail, in its store before mailfs begins; {path below the store}."""
    rand, paths, lists = random.Random(1), set(), {}
    noise = rand.randbytes(1 << 15).hex().encode()
    for n in range(USERS):
        for sub in ("cur", "new", "tmp"):
            os.makedirs(node.stored(user(n), "Maildir", sub))
    for i in range(MESSAGES):
        n = 0 if i % LARGE == 0 else 1 + i % (USERS - 1)
        path = os.path.join(user(n), "Maildir", "cur", "1600%06d.M%dP1.seed:2,S" % (i, i))
        at = rand.randrange(1 << 15)
        with open(os.path.join(node.store, path), "wb") as f:
            f.write(b"Message-ID: <seed%d@test>\nSubject: %d\n\n" % (i, i) + noise[at:at + SIZE] + b"\n")
        paths.add(path)
        lists.setdefault(n, []).append(os.path.basename(path).split(":")[0])
    for n, bases in lists.items():
        with open(node.stored(user(n), "Maildir", "dovecot-uidlist"), "w") as f:
            f.write("3 V%d N%d G%032x\n" % (VALIDITY, len(bases) + 1, n + 1))
            f.writelines("%d :%s\n" % row for row in enumerate(bases, 1))
    for where, _dirs, files in os.walk(node.store):
        for path in [where] + [os.path.join(where, f) for f in files]:
            os.chown(path, dovecot.UID, dovecot.GID)
    return paths


def received(node):
    links = json.loads(node.run("ip", "-j", "-s", "link", "show", "eth0").stdout)
    return links[0]["stats64"]["rx"]["bytes"]


class Life:
    """Deliveries at both nodes and flags at the one that is whole, without end."""

    def __init__(self, pair):
        self.pair, self.going, self.lock = pair, True, threading.Lock()
        self.acknowledged, self.deferred, self.flags = {}, 0, 0
        self.witness = storm.Witness()
        self.threads = [util.Thread(self.deliver, node) for node in pair.nodes]
        self.threads += [util.Thread(self.read, node) for node in pair.nodes]

    def deliver(self, node):
        rand = random.Random(node.host)
        while self.going:
            to, text = user(rand.randrange(USERS)), mail.message("while", size=1500)
            reply = node.lmtp(to, text, timeout=120)[0]
            with self.lock:
                if reply.startswith("250"):
                    self.acknowledged[mail.message_id(text)] = to
                elif reply.startswith("4"):
                    self.deferred += 1
                else:
                    raise util.Fail("LMTP, which must defer: " + reply)

    def read(self, node):
        rand = random.Random(1)
        while self.going:
            to = user(1 + rand.randrange(USERS - 1))
            try:
                with node.imap(to, timeout=120) as client:
                    validity = client.select("INBOX")["uidvalidity"]
                    ids = client.ids()
                    self.witness.look(node.host, to, "INBOX", validity, ids)
                    if ids and node is self.pair.a:
                        client.store(rand.choice(sorted(ids)), "+FLAGS.SILENT", "\\Flagged")
                        self.flags += 1
            except util.Fail as error:
                if "named" in str(error):
                    raise

    def end(self):
        self.going = False
        for thread in self.threads:
            thread.join(300)

    def check(self):
        for thread in self.threads:
            if thread.error:
                raise thread.error


def cuts(t, life, total):
    """One whenever so much more has come; silent ones, and such that both sides hear of."""
    rx, rand = received(t.b), random.Random(7)
    for n in range(1, CUTS + 1):
        util.poll(lambda: "%d bytes at b: %s" % (received(t.b) - rx, t.b.status()),
                  lambda n=n: life.check() or received(t.b) - rx > total * n / (CUTS + 2) or
                  t.b.state() == "in-sync", 1800, 0.05)
        t.check(t.b.state() != "in-sync", "all was there before cut %d", n)
        t.pair.cut_link(silent=rand.random() < 0.5)
        t.b.wait_state("alone", timeout=30)
        t.pair.heal_link()
        t.b.wait_state("catching-up", "in-sync", timeout=30)
        print("    cut %d at %.1f MB" % (n, (received(t.b) - rx) / 1e6), flush=True)
    t.pair.wait_in_sync(timeout=3600)
    return received(t.b) - rx


def names(store):
    """{user/base name: info} of all messages."""
    found = {}
    for n in range(USERS):
        for sub in ("cur", "new"):
            for name in os.listdir(os.path.join(store, user(n), "Maildir", sub)):
                if name[0] != ".":
                    base, _, info = name.partition(":")
                    t = found.setdefault("%s/%s" % (user(n), base), (sub, info))
                    if t != (sub, info):
                        raise util.Fail("%s is there twice in %s" % (name, store))
    return found


def judge(t, life, paths):
    util.poll("the same names on both nodes", lambda: names(t.a.store) == names(t.b.store), 120)
    there = names(t.b.store)
    lacking = [p for p in paths if "%s/%s" % (p.split("/")[0], os.path.basename(p).split(":")[0]) not in there]
    t.check(not lacking, "%d messages lack, %s first", len(lacking), lacking[:3])
    by_user = {}
    for ident, to in life.acknowledged.items():
        by_user.setdefault(to, set()).add(ident)
    for to, idents in sorted(by_user.items()):
        view = compare.wait_equal(t.pair, to, timeout=120, bodies=False)
        compare.assert_has(view, idents, "INBOX")
        validity, rows = view["folders"]["INBOX"]
        t.equal(validity, VALIDITY, "UIDVALIDITY of " + to)
        life.witness.look("end", to, "INBOX", validity, {u: row[1] for u, row in rows.items()})


def test(t):
    t.needs_mailfs()
    # a mailbox that a client opened on b before it came there was a new one
    t.forgive("/b/mail/.*UIDVALIDITY changed")
    paths = fill(t.a)
    total = sum(os.path.getsize(os.path.join(t.a.store, p)) for p in paths)
    print("    %d messages, %.0f MB" % (len(paths), total / 1e6), flush=True)
    t.a.start("syncd", "mailfs", "dovecot")
    t.b.start("syncd", "mailfs", "dovecot")
    start, life = util.now(), Life(t.pair)
    try:
        wire = cuts(t, life, total)
    finally:
        seconds = util.now() - start
        life.end()
    t.pair.wait_in_sync(timeout=120)
    judge(t, life, paths)
    t.figure("%d messages (%.0f MB) in %.0f s, %.0f MB over the link, cut %d times; %d acknowledged meanwhile, "
             "%d deferred, %d flags, %d looks", len(paths), total / 1e6, seconds, wire / 1e6, CUTS,
             len(life.acknowledged), life.deferred, life.flags, life.witness.looks)
    t.check(wire < total * 1.6 + len(life.acknowledged) * 6000, "%d bytes came for %d bytes of mail", wire, total)


case.main(test, own=True, start=False, postfix=False, seconds=SECONDS)
