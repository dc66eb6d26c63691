"""One mailfs without a peer, for tests of the mount itself, and its workers."""

import os
import re
import shutil
import signal

from . import disk, mailfs, rundir, util


def worker_of(pid):
    """The process that a mailfs has started to serve its mount; None for a moment after one died.

    One that was killed can stay for a while as a zombie with threads.
    """
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            children = [int(p) for p in f.read().split()]
    except OSError:
        return None
    alive = [p for p in children if (util.proc_stat(p) or ("Z", 0))[0] not in "ZX"]
    return max(alive) if alive else None


def kill_worker(pid, timeout=10):
    """SIGKILL for the worker of this mailfs; the pid of the one killed."""
    worker = util.poll("a worker of mailfs %d" % pid, lambda: worker_of(pid), timeout)
    util.proc_signal(worker, signal.SIGKILL)
    return worker


class Alone:
    """with Alone() as m: m.path("box") is on the mount, m.stored("box") in the store; size: of its own disk."""

    def __init__(self, program=None, size=None, **env):
        self.dir = rundir.create()
        self.store, self.mount, self.state = (os.path.join(self.dir, n) for n in "smd")
        for path in (self.store, self.mount, self.state):
            os.mkdir(path)
        if size is not None:
            disk.ext4_at(self.store, os.path.join(self.dir, "image"), size)
        self.program, self.env = program or mailfs.program("mailfs"), env
        self.conf = os.path.join(self.dir, "mailfs.conf")
        self.log = os.path.join(self.dir, "log")
        with open(self.conf, "w") as f:
            f.write('node = "alone"\nvolume "mail" {\n store = "%s"\n mount = "%s"\n state = "%s"\n}\n' %
                    (self.store, self.mount, self.state))
        self.start()

    def start(self):
        """Also once more, after it was killed."""
        open(self.log, "w").close()
        self.pid = util.spawn([self.program, "-f", "-c", self.conf], self.log,
                              env={**os.environ, **mailfs.SAN_ENV, **self.env})
        rundir.record(self.dir, "pid", "%d %d" % (self.pid, util.proc_stat(self.pid)[1]))
        try:
            util.poll(lambda: "mounted: " + self.said(), lambda: "mounted at" in self.said(), 15)
        except util.Fail:
            self.end()
            raise

    def kill(self):
        """The holder and the worker, at once."""
        for pid in (self.pid, worker_of(self.pid)):
            if pid:
                util.proc_signal(pid, signal.SIGKILL)
        util.poll("the end of mailfs", lambda: util.reap_children() or not util.proc_alive(self.pid), 15)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def path(self, *parts):
        return os.path.join(self.mount, *parts)

    def stored(self, *parts):
        return os.path.join(self.store, *parts)

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def taken_over(self):
        """How often a worker took over, and the longest that took in ms."""
        took = [int(ms) for ms in re.findall(r"has taken over after (\d+) ms", self.said())]
        return len(took), max(took, default=0)

    def kill_worker(self):
        return kill_worker(self.pid)

    def replace_worker(self, timeout=10):
        before = self.taken_over()[0]
        self.kill_worker()
        util.poll(lambda: "another worker: " + self.said()[-2000:], lambda: self.taken_over()[0] > before, timeout)

    def mailbox(self, name="box"):
        os.mkdir(self.path(name))
        for part in ("cur", "new", "tmp"):
            os.mkdir(self.path(name, part))
        return self.path(name)

    def end(self, sig=signal.SIGTERM):
        util.proc_signal(self.pid, sig)
        try:
            util.poll("the end of mailfs", lambda: util.reap_children() or not util.proc_alive(self.pid), 15)
        finally:
            util.proc_signal(self.pid, signal.SIGKILL)
            rundir.take_mounts_away(self.mount)
            rundir.take_mounts_away(self.store)
            if not rundir.mounts_below(self.dir):
                shutil.rmtree(self.dir, ignore_errors=True)
