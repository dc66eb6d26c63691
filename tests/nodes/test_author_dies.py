#!/usr/bin/env python3
"""A process that delivers is killed before its message has a name: the peer does not publish it."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402
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


def die_delivering(node, user, text):
    """Up to the fsync, and no further."""
    fifo = os.path.join(node.dir, "author.fifo")
    os.mkfifo(fifo, 0o666)
    os.chmod(fifo, 0o666)
    child = subprocess.Popen(
        node.argv("setpriv", "--reuid=%d" % UID, "--regid=%d" % GID, "--clear-groups", "python3", "-c",
                  PROGRAM, node.home(user, "Maildir", "tmp", "1.M1P1.author"), fifo),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(text)
    child.stdin.close()
    if child.stdout.readline() != b"durable\n":
        raise util.Fail("the fsync has failed")
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


case.main(test)
