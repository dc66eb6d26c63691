"""Network and UTS namespaces, and the link between two of them."""

import contextlib
import ctypes
import os

from . import rundir, util

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_HOME = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

# Input only: dropping in the output hook tells the sender, a dead host does not.
DROP = """table inet lab_cut {
    chain input {
        type filter hook input priority -300; policy accept;
        iifname "eth0" drop
    }
}
"""


def _setns(fd):
    if _LIBC.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "setns: " + os.strerror(error))


@contextlib.contextmanager
def entered(name):
    """In a node's network, for this thread; sockets made here stay there."""
    fd = os.open("/run/netns/" + name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
        try:
            yield
        finally:
            _setns(_HOME)
    finally:
        os.close(fd)


class Space:
    """The namespaces of one node."""

    def __init__(self, run, letter):
        self.run, self.letter = run, letter
        self.host = "mx-" + letter
        self.name = "mfl-%s-%s" % (rundir.tag(run), letter)
        self.uts = os.path.join(run, letter, "uts")
        self.address = "10.77.0.%d" % ("abc".index(letter) + 1)

    def create(self):
        rundir.record(self.run, "netns", self.name)
        util.run(["ip", "netns", "add", self.name])
        with open(self.uts, "w"):
            pass
        util.run(["unshare", "--uts=" + self.uts, "hostname", self.host])

    def argv(self, *command):
        """A command line that runs the command on this node."""
        return ["nsenter", "--net=/run/netns/" + self.name, "--uts=" + self.uts, *command]

    def ip(self, *args):
        # not `ip -n`: it makes a mount namespace, which fails below a chroot
        util.run(["nsenter", "--net=/run/netns/" + self.name, "ip", *args])

    def configure(self):
        self.ip("address", "add", self.address + "/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        self.ip("link", "set", "lo", "up")

    def drop(self, on):
        if on:
            util.run(self.argv("nft", "-f", "-"), text=DROP)
        else:
            util.run(self.argv("nft", "delete", "table", "inet", "lab_cut"), check=False)

    def pids(self):
        return rundir.netns_pids(self.name)


def connect(one, two):
    """Join two Spaces by a cable."""
    util.run(["ip", "link", "add", "eth0", "netns", one.name, "type", "veth",
              "peer", "name", "eth0", "netns", two.name])
    one.configure()
    two.configure()


def connect_all(run, spaces):
    """Join any number of Spaces by a switch, in a namespace of its own."""
    switch = "mfl-%s-s" % rundir.tag(run)
    rundir.record(run, "netns", switch)
    util.run(["ip", "netns", "add", switch])

    def ip(*args):
        util.run(["nsenter", "--net=/run/netns/" + switch, "ip", *args])

    ip("link", "add", "br0", "type", "bridge")
    ip("link", "set", "br0", "up")
    for space in spaces:
        port = "port-" + space.letter
        util.run(["ip", "link", "add", "eth0", "netns", space.name, "type", "veth",
                  "peer", "name", port, "netns", switch])
        ip("link", "set", port, "master", "br0", "up")
        space.configure()
