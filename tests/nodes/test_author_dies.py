#!/usr/bin/env python3
"""A process that delivers is killed before its message has a name: the peer does not publish it.

Nor where syncd had been killed then, or the worker of mailfs is killed as well before there is another syncd.
"""

import itertools
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, compare, mail, util  # noqa: E402
from lab.dovecot import GID, UID  # noqa: E402

PROGRAM = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, sys.stdin.buffer.read())
os.fsync(fd)
print("durable", flush=True)
os.close(fd)
os.read(os.open(sys.argv[2], os.O_RDONLY), 1)
"""


numbers = itertools.count(1)


def die_delivering(node, user, text, before=None):
    """Up to the fsync, and no further.  before: done before it dies."""
    fifo = os.path.join(node.dir, "author.fifo")
    os.mkfifo(fifo, 0o666)
    os.chmod(fifo, 0o666)
    child = subprocess.Popen(
        node.argv("setpriv", "--reuid=%d" % UID, "--regid=%d" % GID, "--clear-groups", "python3", "-c",
                  PROGRAM, node.home(user, "Maildir", "tmp", "1.M%dP1.author" % next(numbers)), fifo),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(text)
    child.stdin.close()
    if child.stdout.readline() != b"durable\n":
        raise util.Fail("the fsync has failed")
    if before:
        before()
    child.kill()
    child.wait(5)
    os.unlink(fifo)


def staged(node):
    return os.listdir(os.path.join(node.store, ".mailfs", "stage"))


def test(t):
    t.needs_mailfs()
    user = t.pair.user("author")
    first = t.a.deliver(user, mail.message("delivered"))
    t.wait_equal(user)
    before = set(staged(t.b))
    die_delivering(t.a, user, mail.message("never delivered"))
    util.poll(lambda: "what b was given of it goes: %s" % staged(t.b),
              lambda: not set(staged(t.b)) - before, 5)
    t.pair.cut_link(silent=False)
    for node in t.pair.nodes:
        node.wait_state("alone")
    t.pair.heal_link()
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), [first], exactly=True)
    for worker_too in (False, True):
        before = set(staged(t.b))
        die_delivering(t.a, user, mail.message("never delivered"), lambda: t.a.kill("syncd"))
        t.check(set(staged(t.b)) - before, "b has not been given it")
        if worker_too:
            alone.kill_worker(t.a.daemon("mailfs").known()[0])
        t.a.start("syncd")
        t.pair.wait_in_sync()
        util.poll(lambda: "what b was given of it goes: %s" % staged(t.b),
                  lambda b=before: not set(staged(t.b)) - b, 10)
        compare.assert_has(t.wait_equal(user), [first], exactly=True)


case.main(test)
