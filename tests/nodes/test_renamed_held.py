#!/usr/bin/env python3
"""A folder is renamed while a process of Dovecot has its lock, on either node: nobody waits for that process."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, imap, mail, util  # noqa: E402

COUNT = 100         # messages copied at once: the lock is held as long as that takes
BOUND = 10


class Copier:
    """A client of node b that copies its inbox to the folder, again and again, until it is stopped under the lock."""

    def __init__(self, t, user):
        self.lock = t.b.stored(user, "Maildir", ".Old", "dovecot-uidlist.lock")
        self.client, self.pid = t.b.imap(user, mailbox="INBOX"), None
        util.poll("Dovecot stopped under the lock", self.stop, 20, 0)

    def stop(self):
        name = self.client.send("UID COPY 1:* Old")
        try:
            util.poll("the lock", self.owner, 5, 0)
        except util.Fail:
            return False
        util.proc_signal(self.pid, signal.SIGSTOP)
        util.poll("stopped", lambda: util.proc_stat(self.pid)[0] in "tT", 5, 0.001)
        if os.path.exists(self.lock):
            return True
        util.proc_signal(self.pid, signal.SIGCONT)      # too late
        self.client.finish(name, "COPY")
        return False

    def owner(self):
        try:
            with open(self.lock) as f:
                self.pid = int(f.read().split(":")[0])
        except (OSError, ValueError):
            return False
        return True

    def go_on(self, t):
        """What it was doing fails; the session lives."""
        util.proc_signal(self.pid, signal.SIGCONT)
        try:
            self.client.finish("t%d" % self.client.count, "COPY")
        except imap.ImapError as error:
            t.check(error.status == "NO", "the session ended: %s", error)
        self.client.noop()


def renamed(t, where):
    user = t.pair.user("renamed", ("Old",))
    for _ in range(COUNT):
        t.a.deliver(user, mail.message())
    t.wait_equal(user)
    copier = Copier(t, user)
    # as Dovecot does it, whose RENAME may itself look into the folder first and wait for the lock
    os.rename(where.home(user, "Maildir", ".Old"), where.home(user, "Maildir", ".New"))
    t.pair.wait_path(t.b, user, "Maildir", ".New")
    copier.go_on(t)
    start = util.now()
    for node in (t.b, t.a):
        with node.imap(user, timeout=BOUND) as client:
            client.append("New", mail.message("after it, at " + node.letter))
    t.figure("renamed at %s: both had the lock after %.1f s", where.letter, util.now() - start)
    t.check(util.proc_alive(copier.pid), "Dovecot's process ended: nothing was tested")
    copier.client.close()
    t.wait_equal(user)


def test(t):
    t.needs_mailfs()
    renamed(t, t.a)
    renamed(t, t.b)


case.main(test)
