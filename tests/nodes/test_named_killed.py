#!/usr/bin/env python3
"""syncd dies between a delivery's fsync and its name, or before it has read of it (DESIGN 8.6).

What was prepared with the peer gets its name while nobody hears of it; the peer publishes it under
another one, or is about to.  mailfs tells the next syncd, so that both know it for one message; also where the worker
that gave the name has died as well.
"""

import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, compare, mail, util  # noqa: E402

TIMEOUT = 1


class Delivery:
    def __init__(self, t, user, number):
        self.t, self.user = t, user
        text = mail.message("prepared %d" % number)
        self.ident = mail.message_id(text)
        self.name = "1000.M%dP2.%s" % (number, user)
        with open(self.path("tmp"), "wb") as f:
            os.chown(self.path("tmp"), 5000, 5000)
            f.write(text)
            f.flush()
            os.fsync(f.fileno())

    def path(self, part, more=""):
        return self.t.a.home(self.user, "Maildir", part, self.name + more)

    def rename(self):
        """As Dovecot names it."""
        os.rename(self.path("tmp"), self.path("new", ",S=%d" % os.path.getsize(self.path("tmp"))))
        new = os.open(os.path.dirname(self.path("new")), os.O_RDONLY)
        os.fsync(new)
        os.close(new)

    def wait_published(self):
        self.t.pair.wait_path(self.t.b, self.user, "Maildir", "new", self.name)


def expunge(node, user, ident):
    with node.imap(user, mailbox="INBOX") as client:
        uids = [u for u, i in client.ids().items() if i == ident]
        client.store(str(uids[0]), "+FLAGS.SILENT", "\\Deleted")
        client.expunge()


def stage_empty(t):
    for node in t.pair.nodes:
        stage = os.path.join(node.store, ".mailfs", "stage")
        util.poll(lambda s=stage: "no prepared content, there is %s" % os.listdir(s),
                  lambda s=stage: not [f for f in os.listdir(s) if f.startswith("p-")])


def story(t, published):
    """Renamed while syncd does not read; while there is none; and this one expunged at once."""
    user = t.pair.user("named")
    t.wait_equal(user)
    deliveries = [Delivery(t, user, n) for n in range(3)]
    t.a.daemon("syncd").kill(signal.SIGSTOP, wait=False)
    deliveries[0].rename()
    t.a.kill("syncd")
    deliveries[1].rename()
    deliveries[2].rename()
    expunge(t.a, user, deliveries[2].ident)
    if published:
        for one in deliveries:
            one.wait_published()
    t.a.start("syncd")
    t.pair.wait_in_sync()
    stage_empty(t)  # nothing will be published any more
    view = t.wait_equal(user)
    compare.assert_no_duplicates(view)
    got = sorted(row[1] for row in view["folders"]["INBOX"][1].values())
    t.equal(got, sorted(d.ident for d in deliveries[:2]), "INBOX")


def power(t, killed=False, restarted=False, told=False):
    """syncd, or the next one, has learnt of the name, and the power of its node goes before it meets the other one.

    killed: it was named while there was no syncd; restarted: while there was the next one, which has not met the
    other node; told: when the link was cut, and syncd did not know.
    """
    user = t.pair.user("power")
    t.wait_equal(user)
    delivery = Delivery(t, user, 3)
    base = os.path.join(t.a.mailfs.state, "base", "data.mdb")
    if killed or restarted:
        t.a.kill("syncd")
    if killed:
        delivery.rename()
    t.a.deaf(t.b)
    t.b.deaf(t.a)
    if told:
        before = os.stat(base).st_mtime_ns
        delivery.rename()
    if restarted:
        t.a.start("syncd")
    delivery.wait_published()
    if not told:
        before = os.stat(base).st_mtime_ns
    if killed:
        t.a.start("syncd")
    elif not told:
        delivery.rename()
    util.poll("what syncd has learnt to be in the base", lambda: os.stat(base).st_mtime_ns != before, 5)
    t.a.crash(power=True)
    for node in t.pair.nodes:
        node.deaf()
    t.a.revive()
    t.pair.wait_in_sync()
    stage_empty(t)
    view = t.wait_equal(user)
    compare.assert_no_duplicates(view)
    compare.assert_has(view, [delivery.ident])


@contextlib.contextmanager
def locked(maildir):
    """As Dovecot does it: while the lock is held, somewhere, it cannot be made."""
    lock = os.path.join(maildir, "dovecot-uidlist.lock")

    def made():
        with contextlib.suppress(FileExistsError):
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR))
            return True
        return False
    util.poll("the lock of " + maildir, made, 10)
    yield
    os.unlink(lock)


def merging(t):
    """Named under L in a mailbox that is still to be merged, and the power of its node goes before it is."""
    user = t.pair.user("merging")
    t.wait_equal(user)
    t.b.mailfs.bandwidth = "100K"
    t.b.mailfs.compress = "off"
    t.pair.configure()
    t.b.kill("syncd", signal.SIGTERM)
    t.pair.cut_link()
    t.b.start("syncd")
    t.b.wait_state("alone")
    large = t.b.deliver(user, mail.message("large", size=4 << 20))
    t.pair.heal_link()
    t.a.wait_state("catching-up")
    base = os.path.join(t.a.mailfs.state, "base", "data.mdb")
    delivery = Delivery(t, user, 4)
    with locked(t.a.home(user, "Maildir")):
        before = os.stat(base).st_mtime_ns
        delivery.rename()
    util.poll("what syncd has learnt to be in the base", lambda: os.stat(base).st_mtime_ns != before, 5)
    t.equal(t.a.state(), "catching-up", "a when its power goes")
    t.a.crash(power=True)
    delivery.wait_published()
    t.a.revive()
    t.b.mailfs.bandwidth = None
    t.pair.configure()
    t.b.kill("syncd", signal.SIGTERM)
    t.b.start("syncd")
    t.pair.wait_in_sync(timeout=30)
    stage_empty(t)
    view = t.wait_equal(user)
    compare.assert_no_duplicates(view)
    compare.assert_has(view, [delivery.ident, large])


def worker_too(t, number, under_l):
    """Both syncd die, and then the worker of mailfs that they have heard of the name from."""
    user = t.pair.user("worker%d" % number)
    t.wait_equal(user)
    with locked(t.a.home(user, "Maildir")) if under_l else contextlib.nullcontext():
        delivery = Delivery(t, user, number)
        delivery.rename()
        for node in t.pair.nodes:
            node.kill("syncd")
        alone.kill_worker(t.a.daemon("mailfs").known()[0])
    for node in t.pair.nodes:
        node.start("syncd")
    t.pair.wait_in_sync()
    stage_empty(t)
    view = t.wait_equal(user)
    compare.assert_no_duplicates(view)
    compare.assert_has(view, [delivery.ident], exactly=True)


def test(t):
    t.needs_mailfs()
    story(t, published=True)
    story(t, published=False)
    power(t)
    power(t, killed=True)
    power(t, restarted=True)
    power(t, told=True)
    merging(t)
    worker_too(t, 5, under_l=True)
    worker_too(t, 6, under_l=False)


case.main(test, own=True, timeout=TIMEOUT, postfix=False, disk=96 << 20)
