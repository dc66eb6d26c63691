#!/usr/bin/env python3
"""mailfs's worker dies while a delivery's fsync waits for a peer that has the message and cannot say so any more.

The fsync that comes again asks for the same content, under the same number: so what the peer publishes, or is about
to, is known for the message that the delivery then names.
"""

import os
import select
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, compare, mail, util  # noqa: E402
from lab.dovecot import GID, UID  # noqa: E402

TIMEOUT = 3     # the fsync waits so long: the worker is to die within it

PROGRAM = """
import os, sys
tmp, new = sys.argv[1:]
fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, sys.stdin.buffer.readline().rstrip(b"\\n").decode("unicode_escape").encode("latin-1"))
os.fsync(fd)
print("durable", flush=True)
sys.stdin.buffer.readline()
os.rename(tmp, new)
print("named", flush=True)
"""


class Delivery:
    """As Dovecot does it."""

    def __init__(self, node, user, number):
        text = mail.message("kept %d" % number)
        self.ident, self.name = mail.message_id(text), "1000.M%dP2.%s" % (number, user)
        paths = [node.home(user, "Maildir", *p) for p in
                 (("tmp", self.name), ("new", "%s,S=%d" % (self.name, len(text))))]
        self.child = subprocess.Popen(
            node.argv("setpriv", "--reuid=%d" % UID, "--regid=%d" % GID, "--clear-groups",
                      "python3", "-c", PROGRAM, *paths), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.send(text.decode("latin-1").encode("unicode_escape"))

    def send(self, line):
        self.child.stdin.write(line + b"\n")
        self.child.stdin.flush()

    def is_durable(self):
        return bool(select.select([self.child.stdout], [], [], 0)[0])

    def heard(self, word):
        got = self.child.stdout.readline()
        if got != word + b"\n":
            raise util.Fail("not %s: %r" % (word, got))

    def give_name(self):
        self.heard(b"durable")
        self.send(b"")
        self.heard(b"named")
        self.child.wait(5)


def prepared(node):
    return [f for f in os.listdir(os.path.join(node.store, ".mailfs", "stage")) if f.startswith("p-")]


def story(t, number, published):
    user = t.pair.user("kept")
    t.wait_equal(user)
    t.a.space.drop(True)    # deaf: it does not hear that b has it
    delivery = Delivery(t.a, user, number)
    util.poll("b has the message", lambda: prepared(t.b))
    t.b.space.drop(True)
    alone.kill_worker(t.a.daemon("mailfs").known()[0])
    t.check(not delivery.is_durable(), "the fsync has not waited")
    delivery.give_name()
    if published:
        t.pair.wait_path(t.b, user, "Maildir", "new", delivery.name)
    t.pair.heal_link()
    t.pair.wait_in_sync()
    for node in t.pair.nodes:   # nothing will be published any more
        util.poll(lambda n=node: "no prepared content, there is %s" % prepared(n), lambda n=node: not prepared(n), 30)
    view = t.wait_equal(user)
    compare.assert_no_duplicates(view)
    compare.assert_has(view, [delivery.ident], exactly=True)


def test(t):
    t.needs_mailfs()
    story(t, 1, published=False)
    story(t, 2, published=True)


case.main(test, timeout=TIMEOUT)
