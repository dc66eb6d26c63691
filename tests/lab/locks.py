"""A process that takes Dovecot's uidlist lock as Dovecot does, to hold it or to die with it."""

import os
import subprocess
import sys

from . import util
from .dovecot import GID, UID

PROGRAM = """
import os, socket, sys
path = sys.argv[1]
try:
    os.lstat(path)
except FileNotFoundError:
    pass
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, ("%d:%s" % (os.getpid(), socket.gethostname())).encode())
os.fstat(fd)
os.close(fd)
os.lstat(path)
print("held", flush=True)
sys.stdin.readline()
os.unlink(path)
print("released", flush=True)
"""


class Holder:
    """Holds L of a mailbox on a node from the constructor to release() or kill()."""

    def __init__(self, node, user, folder=""):
        self.path = node.home(user, "Maildir", folder, "dovecot-uidlist.lock")
        self.child = subprocess.Popen(
            node.argv("setpriv", "--reuid=%d" % UID, "--regid=%d" % GID, "--clear-groups",
                      "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable,
                      "-c", PROGRAM, self.path),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        if self.child.stdout.readline() != "held\n":
            raise util.Fail("cannot take " + self.path)

    def release(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        if self.child.stdout.readline() != "released\n":
            raise util.Fail("cannot release " + self.path)
        self.child.wait(5)

    def kill(self):
        self.child.kill()
        self.child.wait(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.kill()
