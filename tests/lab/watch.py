"""Restarts the daemons of a pair when they end, as systemd does (Restart=always, 100 ms)."""

import contextlib
import os
import re
import signal
import threading
import time

from . import util

DELAY = 0.1
SEEN_LATE = 0.5     # by that much at most, on a busy machine
WORKER_BACK = 1.0
LEFT_OVER = ("stage", "trash", "kept")


class Watch:
    def __init__(self, pair):
        self.pair, self.restarts, self.error = pair, 0, None
        self.lock, self.halt = threading.RLock(), threading.Event()
        self.held = set()
        self.away = []          # (from, to) of each mount that was not there, or lost its worker
        self.armed = None       # the fault point that is looked at, if mailfs is to die there
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def end(self):
        self.halt.set()
        self.thread.join(30)

    def work(self):
        while not self.halt.wait(0.02):
            self.look_at_point()
            for node in self.pair.nodes:
                for name in ("syncd", "mailfs"):
                    self.look(node, name)

    def look_at_point(self):
        """The holder of the mount starts a new worker by itself: seen at the point only."""
        armed = self.armed
        if armed is not None and armed.control.done:
            self.armed = None
            with self.lock:
                self.away.append((util.now() - SEEN_LATE, util.now() + WORKER_BACK))

    def look(self, node, name):
        with self.lock:
            if (node, name) in self.held or node.daemon(name).running():
                return
            since = util.now() - SEEN_LATE
            time.sleep(DELAY)
            self.restarts += 1
            try:
                node.start(name)
                if name == "mailfs":
                    self.away.append((since, util.now()))
            except (util.Fail, OSError) as error:
                # it died again while it started: the next look starts it again
                self.error = error

    def stopped(self, node, name, sig):
        """End it by a signal, and see it started again."""
        with self.lock:
            known = node.daemon(name).known()
            if node.daemon(name).running():
                util.proc_signal(known[0], sig, known[1])
        util.poll("%s: %s ended and there again" % (node.host, name),
                  lambda: node.daemon(name).known() != known and node.daemon(name).running(), 20)
        self.wait_serving(node)

    @contextlib.contextmanager
    def down(self, node):
        """Both daemons of a node killed, and down as long as this lasts."""
        with self.lock:
            self.held |= {(node, "mailfs"), (node, "syncd")}
        for name in ("mailfs", "syncd"):
            node.kill(name, signal.SIGKILL)
        try:
            yield
        finally:
            self.held -= {(node, "mailfs"), (node, "syncd")}
            self.wait_serving(node)

    def was_away(self, since):
        """Has a mount not been there, or lost its worker, at some time since then?"""
        self.look_at_point()
        with self.lock:
            return any(end >= since for _start, end in self.away)

    def wait_serving(self, node, timeout=25):
        util.poll(lambda: "%s serving (%s)" % (node.host, self.error),
                  lambda: node.mailfs.serving() and node.daemon("syncd").running(), timeout)

    def wait_state(self, node, state, timeout=25):
        """Over restarts in which nobody answers."""
        util.poll(lambda: "%s %s; status %s" % (node.host, state, node.status()),
                  lambda: node.state() == state, timeout)

    def wait_quiet(self, timeout=20):
        """Both in-sync, nothing waiting, and nothing left over in the stores."""
        left = []

        def quiet():
            left[:] = [str((n.host, n.status())) for n in self.pair.nodes
                       if n.state() != "in-sync" or (n.status() or {}).get("pending_messages")]
            left[:] = left or [x for n in self.pair.nodes for x in leftovers(n)]
            return not left
        util.poll(lambda: "quiet; " + "; ".join(left[:6]), quiet, timeout)


    def wait_no_marks(self, build, timeout=10):
        """Settled, and so cleared at the next checkpoint."""
        util.poll(lambda: "no marks: " + self.marks(build), lambda: not self.marks(build), timeout)

    def marks(self, build):
        return "; ".join(n.host + ": " + line for n in self.pair.nodes for line in n.mailfs.marks(build))

    def explain(self):
        """Of daemons that do not end: where the kernel has their threads."""
        for node in self.pair.nodes:
            for name in ("syncd", "mailfs"):
                known = node.daemon(name).known()
                for line in stuck(known[0]) if known else []:
                    print("    %s %s: %s" % (node.host, name, line))


def stuck(pid):
    """The threads of a process that is a zombie, and what each waits for."""
    found = []
    if (util.proc_stat(pid) or "?")[0] != "Z":
        return found
    for tid in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/stack" % (pid, tid)) as f:
                found.append("thread %s: %s" % (tid, " < ".join(
                    re.sub(r"\+0x.*", "", line.split("] ", 1)[1].strip()) for line in f)))
        except OSError:
            pass
    return found


def leftovers(node):
    """What should not be in a store that has nothing to do: paths below it."""
    found = []
    for part in LEFT_OVER:
        where = os.path.join(node.store, ".mailfs", part)
        # l-: for the administrator, for good
        found += [os.path.join(".mailfs", part, n) for n in os.listdir(where) if not n.startswith("l-")] \
            if os.path.isdir(where) else []
    for where, _dirs, files in os.walk(node.store):
        found += [os.path.relpath(os.path.join(where, n), node.store) for n in files
                  if n.startswith(".mailfs")]
    return ["%s: %s" % (node.host, f) for f in found]
