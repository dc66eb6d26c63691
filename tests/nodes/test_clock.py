#!/usr/bin/env python3
"""Clocks a day apart, and a clock that jumps back and forth: nobody decides by the clock.

The wall clock of node a's mailfs, syncd and Dovecot is libfaketime's; time that only passes
(CLOCK_MONOTONIC) and the times of files are the kernel's.  Dovecot's is a day ahead and does not
jump: stock Dovecot starts no process for minutes after its clock went back, on any file system.
Dovecot 2.4 has the real time.  tests/sim has no run of this kind: what decides (lib/replica) is told
only the time that passes.
"""

import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, dovecot, mail, outage, storm, util  # noqa: E402

TIMEOUT = 3
NAMES = ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_NO_CACHE", "DONT_FAKE_MONOTONIC",
         "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT")


def sets_dovecots():
    """How 2.4 hands on its environment is not known here."""
    return dovecot.version() < (2, 4)


class Clock:
    """Of one node."""

    def __init__(self, node, name, offset):
        library = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
        if not library:
            raise util.Skip("libfaketime is not there")
        self.node, self.path = node, os.path.join(node.dir, name)
        self.set(offset)
        node.env = dict(zip(NAMES, (library[0], self.path, "1", "1", "1", "1")))

    def set(self, offset):
        with open(self.path + ".new", "w") as f:
            f.write(offset + "\n")
        os.chmod(self.path + ".new", 0o644)
        os.rename(self.path + ".new", self.path)

    def of_dovecot(self):
        """Its processes get nothing of the environment that is not named."""
        with open(self.node.dovecot.conf, "a") as f:
            f.write("import_environment = TZ %s\n" % " ".join(NAMES))

    def check(self, test):
        """Do they believe it?"""
        done = self.node.run("date", "+%s", env={**os.environ, **self.node.env})
        real = self.node.run("date", "+%s")
        test.check(abs(int(done.stdout) - int(real.stdout)) > 80000, "the clock is not another one")
        since = (self.node.status() or {}).get("since", 0)
        test.check(since > int(real.stdout) + 80000, "syncd of %s has the real time", self.node.host)


def apart(t, user):
    """Both sides go on, a day from each other."""
    t.pair.cut_link(silent=False)
    ids = []
    for node in t.pair.nodes:
        node.wait_state("alone")
        ids += [node.deliver(user, mail.message("apart at " + node.host)) for _ in range(3)]
        with node.imap(user, mailbox="INBOX") as client:
            client.store("1", "+FLAGS", "\\Flagged" if node is t.a else "\\Answered")
            client.store("2", "-FLAGS" if node is t.a else "+FLAGS", "\\Seen")
    t.pair.heal_link()
    t.pair.wait_in_sync()
    rows = t.wait_equal(user)["folders"]["INBOX"][1]
    t.check({"\\Flagged", "\\Answered"} <= set(rows[1][0]), "flags: %s", rows[1][0])
    return ids


def jumps(t, clock, users, offsets):
    """Deliveries at both nodes, and a client on b, while the clock of a jumps."""
    runs = [outage.Deliveries(node, users, threads=2) for node in t.pair.nodes]
    client = outage.Client(t.b, users[0])
    start = util.now()
    for offset in offsets:
        before = sum(r.count() for r in runs)
        clock.set(offset)
        util.poll("20 more deliveries after a jump to " + offset,
                  lambda n=before: sum(r.count() for r in runs) > n + 20, 20)
    acked = [r.end() for r in runs]
    client.end()
    worst = max(client.stalls(start, 0), default=0)
    t.check(worst < TIMEOUT + 2, "a STORE at b took %.1f s", worst)
    t.figure("%d deliveries over %d jumps; longest STORE at b %.2f s", sum(r.count() for r in runs),
             len(offsets), worst)
    return {user: [i for a in acked for i in a[user]] for user in users}


def start_dovecot(t):
    if sets_dovecots():
        Clock(t.a, "clock-dovecot", "+1d").of_dovecot()
    else:
        t.a.env = {}
        t.figure("Dovecot with the real time")
    t.a.start("dovecot")


def test(t):
    t.needs_mailfs()
    clock = Clock(t.a, "clock", "+1d")
    util.parallel(lambda: t.a.start("syncd", "mailfs"), t.b.start)
    t.pair.wait_in_sync()
    clock.check(t)
    start_dovecot(t)
    users = [t.pair.user("clock") for _ in range(2)]
    ids = [n.deliver(users[0], mail.message("before")) for n in t.pair.nodes]
    t.wait_equal(users[0])
    if sets_dovecots():
        stamps = sorted(int(name.split(".")[0]) for part in ("new", "cur")
                        for name in os.listdir(t.b.stored(users[0], "Maildir", part)))
        t.check(stamps[1] - stamps[0] > 80000, "Dovecot of a has the real time: %s", stamps)
    ids += apart(t, users[0])
    more = jumps(t, clock, users, ("-1d", "+10d", "+0"))
    t.pair.wait_in_sync()
    witness = storm.Witness()
    for user in users:
        view = t.wait_equal(user)
        compare.assert_has(view, more[user] + (ids if user is users[0] else []), exactly=True)
        compare.assert_no_duplicates(view)
        for folder, (validity, rows) in view["folders"].items():
            witness.look("end", user, folder, validity, {u: r[1] for u, r in rows.items()})
    for node in t.pair.nodes:
        lag = (node.status() or {}).get("lag_seconds")
        t.equal(lag, 0.0, "lag of " + node.host)


case.main(test, own=True, start=False, postfix=False, seconds=90)
