"""Fault points in the daemons of a pair: the other side of tests/faults/points.h.

bindir() gives a directory in which mailfs and mailfs-syncd are those with fault points; a
Points object of a daemon records its steps, and says at which one it is to die or to fail.
"""

import collections
import contextlib
import ctypes
import errno
import mmap
import os
import re
import shutil
import subprocess
import tempfile

from . import mailfs, util

KILL_BEFORE, KILL_AFTER, FAIL, SHORT, CUT_BEFORE, CUT_AFTER = range(1, 7)
PROGRAMS = {"mailfs": "mailfs", "syncd": "mailfs-syncd"}     # daemon in the lab: program
TOOLS = {"mailfs": "tool_mailfs", "syncd": "tool_syncd"}


class Control(ctypes.Structure):
    """struct points_control"""
    _fields_ = [(name, ctypes.c_uint32 if name != "error" else ctypes.c_int32) for name in (
        "action", "nth", "times", "error", "phase", "record", "hits", "done")] + [
            ("op", ctypes.c_char * 16), ("cls", ctypes.c_char * 32), ("site", ctypes.c_char * 128),
            ("path", ctypes.c_char * 128), ("read", ctypes.c_char * 128), ("device", ctypes.c_char * 256)]


# where: the site's addresses as recorded
Step = collections.namedtuple("Step", "phase op cls where")


def bindir(build, into):
    """A bin directory with the programs that have fault points, and the plain mailfsctl."""
    os.makedirs(into)
    for daemon, program in PROGRAMS.items():
        os.symlink(os.path.join(build, "tests", "faults", TOOLS[daemon]), os.path.join(into, program))
    os.symlink(os.path.join(build, "bin", "mailfsctl"), os.path.join(into, "mailfsctl"))
    return into


class Points:
    """Those of one daemon of one node, over its restarts."""

    def __init__(self, directory, node, daemon):
        self.node, self.daemon = node, daemon
        self.path = os.path.join(directory, "%s.%s" % (node.host, PROGRAMS[daemon]))
        with open(self.path, "wb") as f:
            f.write(bytes(ctypes.sizeof(Control)))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), ctypes.sizeof(Control))
        self.control = Control.from_buffer(self.map)

    def __repr__(self):
        return "%s of %s" % (self.daemon, self.node.host)

    def arm(self, action, op="", cls="", site="", nth=1, times=1, error=0, path="", device=""):
        c = self.control
        c.action = 0
        c.op, c.cls, c.site, c.path, c.device = (
            x.encode() for x in (op, cls, site, path, device))
        c.nth, c.times, c.error, c.hits, c.done = nth, times, -abs(error), 0, 0
        c.action = action

    def disarm(self):
        """How often it was done."""
        self.control.action = 0
        self.control.read = b""
        return self.control.done

    def unreadable(self, part):
        """Files with this in their path cannot be read until disarm()."""
        self.control.done = 0
        self.control.read = part.encode()

    def record(self, phase):
        """Steps are recorded under this number; None: not recorded."""
        self.control.phase = phase or 0
        self.control.record = phase is not None

    def steps(self):
        try:
            with open(self.path + ".steps") as f:
                return [Step(int(row[0]), *row[1:]) for row in (line.split(" ") for line in
                                                                f.read().splitlines())]
        except FileNotFoundError:
            return []


class Sites:
    """What the addresses of sites are called."""

    def __init__(self, build):
        self.build, self.known = build, {}

    def learn(self, daemon, steps):
        wanted = sorted({a for s in steps for a in s.where.split("/") if a and (daemon, a) not in self.known})
        if not wanted:
            return
        tool = os.path.join(self.build, "tests", "faults", TOOLS[daemon])
        done = subprocess.run(["addr2line", "-f", "-e", tool], input="\n".join("0x" + a for a in wanted),
                              stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout.split("\n")
        for i, address in enumerate(wanted):
            function, place = done[2 * i], done[2 * i + 1]
            self.known[daemon, address] = (function, place.split(" ")[0])

    def frames(self, daemon, step):
        """[(function, path:line)] of the calls that led to it, without those of points.c and io.c."""
        found = [self.known[daemon, a] for a in step.where.split("/") if a]
        return [(f, at) for f, at in found if not re.search(r"tests/faults/points\.c:|lib/io/io\.c:", at)]

    def name(self, daemon, step, depth=3):
        return " < ".join("%s" % f for f, at in self.frames(daemon, step)[:depth])


KILLS = {"before": KILL_BEFORE, "after": KILL_AFTER}
# What a disk may say
ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EIO", "EMFILE")}
WRITES = ("pwrite", "write", "copy")


class Fault:
    """What is to happen at a point, once: a kill before or after it, an error, SHORT (half a write, and no room for the rest)."""

    def __init__(self, name):
        self.name = name
        self.kill = name in KILLS

    def __str__(self):
        return self.name

    def fits(self, step):
        return self.name != "SHORT" or step.op in WRITES

    def arm(self, points, step):
        where = {"op": step.op, "cls": step.cls, "site": step.where}
        if self.kill:
            points.arm(KILLS[self.name], **where)
        elif self.name == "SHORT":
            points.arm(SHORT, error=errno.ENOSPC, times=2, **where)
        else:
            points.arm(FAIL, error=ERRORS[self.name], **where)


def wait_done(points, timeout=10):
    util.poll("%r to come to its fault point" % points, lambda: points.control.done, timeout)


@contextlib.contextmanager
def armed(name):
    """Programs that can be killed or fail at a point, for all that is started within: the directory that says where."""
    directory = tempfile.mkdtemp(prefix="mailfs-%s-" % name)
    build = os.path.dirname(os.path.realpath(mailfs.bindir()))
    os.environ["LAB_BIN"] = bindir(build, os.path.join(directory, "bin"))
    os.environ["FAULT_DIR"] = directory
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
