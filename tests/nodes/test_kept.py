#!/usr/bin/env python3
"""mailfs's worker on node a is killed again and again, and replaced as by an upgrade, while mail is
delivered, flagged, appended, read and idled for: no client sees an error, nothing is lost or doubled."""

import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, compare, imap, mail, util  # noqa: E402

SECONDS = 6
PAUSE = 0.35    # a worker that served for less is counted as one that dies at once


class Clients:
    """Threads that repeat their step and count what went wrong, and the longest wait."""

    def __init__(self):
        self.halt, self.errors, self.longest, self.threads = threading.Event(), [], {}, []

    def add(self, name, step):
        self.threads.append(util.Thread(self.run, name, step))

    def run(self, name, step):
        number = 0
        while not self.halt.is_set():
            start = util.now()
            try:
                step(number)
            except (imap.ImapError, util.Fail, OSError) as error:
                self.errors.append("%s: %s" % (name, error))
                return
            self.longest[name] = max(self.longest.get(name, 0), util.now() - start)
            number += 1

    def end(self):
        self.halt.set()
        for thread in self.threads:
            thread.join(30)


class Steps:
    def __init__(self, t, user, reader):
        self.t, self.user = t, user
        self.acked, self.appended, self.lock = [], [], threading.Lock()
        self.flagger = t.a.imap(user, mailbox="INBOX")
        self.appender = t.a.imap(user)
        self.reader = t.a.imap(reader, mailbox="INBOX")
        self.bodies = dict(self.reader.ids())

    def deliver(self, _):
        self.acked.append(self.t.a.deliver(self.user, mail.message("kept", size=3000)))

    def deliver_far(self, _):
        text = mail.message("kept, at b")
        self.t.b.deliver(self.user, text)
        with self.lock:
            self.acked.append(mail.message_id(text))

    def flag(self, number):
        self.flagger.store("1", "-FLAGS" if number % 2 else "+FLAGS", "\\Flagged")

    def append(self, number):
        text = mail.message("appended %d" % number)
        self.appender.append("Folder", text)
        self.appended.append(mail.message_id(text))

    def read(self, _):
        got = dict(self.reader.ids())
        if got != self.bodies:
            raise util.Fail("messages read: %r, not %r" % (got, self.bodies))

    def close(self):
        for client in (self.flagger, self.appender, self.reader):
            client.close()


def idle_goes_on(t, user, pid):
    """A client that has been idling since before a death is woken by what comes after it."""
    with t.a.imap(user, mailbox="INBOX") as client:
        before = len(client.ids())
        client.idle()
        alone.kill_worker(pid)
        t.b.deliver(user, mail.message("idle"))
        took = client.idle_wait(rb"\* %d EXISTS" % (before + 1))[1]
        client.done()
    t.check(took < 5, "the idling client was woken after %.1f s", took)
    return took


def test(t):
    t.needs_mailfs()
    user, reader, sleeper = t.pair.user("kept", ("Folder",)), t.pair.user("reads"), t.pair.user("idles")
    for _ in range(5):
        t.a.deliver(user, mail.message("before"))
        t.a.deliver(reader, mail.message("to be read"))
    t.a.deliver(sleeper, mail.message("before"))
    before = t.wait_equal(user)["folders"]["INBOX"]
    t.wait_equal(reader)
    t.wait_equal(sleeper)
    pid = t.a.daemon("mailfs").running()
    steps, clients = Steps(t, user, reader), Clients()
    for name in ("deliver", "flag", "append", "read"):
        clients.add(name, getattr(steps, name))
    clients.add("deliver at b", steps.deliver_far)
    start, killed, replaced = util.now(), 0, 0
    while util.now() - start < SECONDS and not clients.errors:
        if killed % 4 == 3:
            util.proc_signal(pid, signal.SIGHUP)
            replaced += 1
        else:
            alone.kill_worker(pid)
        killed += 1
        clients.halt.wait(PAUSE)
    woken = idle_goes_on(t, sleeper, pid)
    clients.end()
    steps.close()
    t.equal(clients.errors, [], "errors that clients saw")
    with open(t.a.log("syncd"), errors="replace") as f:
        t.check("had to drop" not in f.read(), "all that was marked was compared anew")
    view = t.wait_equal(user)
    inbox, count = view["folders"]["INBOX"], compare.count_ids(view, "INBOX")
    missing = [m for m in steps.acked if m not in count]
    twice = [m for m, n in count.items() if n > 1]
    t.equal(missing, [], "accepted and missing")
    t.equal(twice, [], "there twice")
    t.equal(sorted(compare.count_ids(view, "Folder")), sorted(steps.appended), "appended")
    t.equal(inbox[0], before[0], "UIDVALIDITY")
    for uid, row in before[1].items():
        t.equal(inbox[1].get(uid, (None, None))[1], row[1], "UID %d" % uid)
    t.figure("%d deaths, %d of them upgrades; %d delivered, %d appended, no error; longest waits: %s; idle woken after %.2f s",
             killed, replaced, len(steps.acked), len(steps.appended),
             ", ".join("%s %.2f s" % i for i in sorted(clients.longest.items())), woken)


case.main(test, own=True)
