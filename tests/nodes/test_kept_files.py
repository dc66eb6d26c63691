#!/usr/bin/env python3
"""mailfs's worker is killed again and again while files are made, appended, renamed, locked, listed and
removed: no call fails, nothing is done twice or not at all."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, util  # noqa: E402

SECONDS = 5
PAUSE = 0.35      # a worker that served for less is counted as one that dies at once
LISTED = 3000


class Work:
    """Threads that do their step until the end, and the longest that one took."""

    def __init__(self, *steps):
        self.halt, self.longest, self.counts = threading.Event(), 0.0, {}
        self.threads = [util.Thread(self.run, step) for step in steps]

    def run(self, step):
        number = 0
        while not self.halt.is_set():
            start = util.now()
            step(number)
            self.longest = max(self.longest, util.now() - start)
            number += 1
        self.counts[step.__name__] = number

    def end(self):
        self.halt.set()
        for thread in self.threads:
            thread.join(20)


def mismatch(what, got, want):
    if got != want:
        raise util.Fail("%s: got %r, want %r" % (what, got, want))


class Steps:
    def __init__(self, m):
        self.m, self.box, self.big = m, m.mailbox("box"), m.mailbox("big")
        self.names = {"%06d.M1P1.host,S=10:2," % i for i in range(LISTED)}
        for name in self.names:
            open(m.stored("big", "cur", name), "w").close()
        self.log = open(self.path("log"), "ab", buffering=0)
        with open(self.path("new/flagged"), "w") as f:
            f.write("text\n")
        self.flagged = open(self.path("new/flagged"), "rb")
        self.holder, self.name = None, "new/flagged"

    def path(self, *names):
        return os.path.join(self.box, *names)

    def deliver(self, n):
        """As Postfix does, then read it by its name, and remove it."""
        tmp, new = self.path("tmp/d%d" % n), self.path("new/d%d" % n)
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        text = b"message %d\n" % n * 300
        for at in range(0, len(text), 1000):
            os.write(fd, text[at:at + 1000])
        os.fsync(fd)
        os.close(fd)
        os.link(tmp, new)
        os.unlink(tmp)
        with open(new, "rb") as f:
            mismatch("message %d" % n, f.read(), text)
        if n % 2:
            os.unlink(new)

    def append(self, n):
        mismatch("append", self.log.write(b"%d\n" % n), len(b"%d\n" % n))
        if n % 10 == 0:
            os.fsync(self.log.fileno())

    def flag(self, n):
        """Renamed; the file that was opened long ago is the same."""
        name = "cur/flagged:2,%s" % ("S" if n % 2 else "")
        os.rename(self.path(self.name), self.path(name))
        self.name = name
        mismatch("open file", os.pread(self.flagged.fileno(), 100, 0), b"text\n")

    def list_all(self, n):
        got = os.listdir(os.path.join(self.big, "cur"))
        stays = [name for name in got if not name.startswith("x")]
        mismatch("names listed twice", len(stays), len(set(stays)))
        mismatch("names not listed", self.names - set(stays), set())

    def come_and_go(self, n):
        """In the directory that is listed."""
        name = os.path.join(self.big, "cur", "x%d" % (n % 50))
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(name)

    def folder(self, n):
        path = self.path(".f%d" % (n % 7))
        os.mkdir(path)
        os.rename(path, path + "-moved")
        os.rmdir(path + "-moved")

    def lock(self, who):
        """L is held by one at a time."""
        name = self.path("dovecot-uidlist.lock")
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        mismatch("who holds the lock", self.holder, None)
        self.holder = who
        os.write(fd, b"%d" % os.getpid())
        os.close(fd)
        self.holder = None
        os.unlink(name)

    def lock_a(self, _):
        self.lock("a")

    def lock_b(self, _):
        self.lock("b")


def readdir_goes_on(m, steps):
    """A listing under way when the worker dies: each name once."""
    directory = os.scandir(os.path.join(steps.big, "cur"))
    got = [next(directory).name for _ in range(LISTED // 2)]
    time.sleep(PAUSE)
    m.replace_worker()
    os.unlink(os.path.join(steps.big, "cur", got[-1]))      # the very one it goes on behind
    got += [entry.name for entry in directory]
    steps.names.discard(got[LISTED // 2 - 1])
    mismatch("times that names came", len(got), LISTED)
    mismatch("names", set(got) >= steps.names, True)


def open_and_removed(m, steps):
    """A file that was removed while it was open is still read after the worker died, or says ESTALE."""
    with open(steps.path("gone"), "w") as f:
        f.write("gone\n")
    with open(steps.path("gone"), "rb") as f:
        os.unlink(steps.path("gone"))
        m.replace_worker()
        return os.pread(f.fileno(), 10, 0)


def test(t):
    with alone.Alone() as m:
        steps = Steps(m)
        readdir_goes_on(m, steps)
        work = Work(steps.deliver, steps.append, steps.flag, steps.list_all, steps.come_and_go,
                    steps.folder, steps.lock_a, steps.lock_b)
        start, killed = util.now(), 1
        while util.now() - start < SECONDS:
            m.replace_worker()
            killed += 1
            work.halt.wait(PAUSE)
        work.end()
        steps.log.close()
        with open(m.stored("box", "log"), "rb") as f:
            lines = f.read().split()
        mismatch("lines appended", lines, [b"%d" % n for n in range(len(lines))])
        mismatch("number of lines", len(lines), work.counts["append"])
        mismatch("messages", len([n for n in os.listdir(m.stored("box", "new")) if n[0] == "d"]),
                 (work.counts["deliver"] + 1) // 2)
        mismatch("left in tmp/", os.listdir(m.stored("box", "tmp")), [])
        times, took = m.taken_over()
        t.check(times == killed, "%d workers took over, %d were killed", times, killed)
        t.figure("killed %d times, taken over within %d ms, longest step %.0f ms; %s", killed, took,
                 work.longest * 1000, " ".join("%s %d" % c for c in sorted(work.counts.items())))


case.main(test, own="none")
