"""What the daemons take of memory with so many messages, on both nodes beforehand: the first comparison lists
and merges all of them, a walk through the mount makes the kernel, and so mailfs, know all of them."""

import os
import threading

from lab import util
from lab.dovecot import GID, UID

import backends

MESSAGES = int(os.environ.get("MESSAGES") or 1000000)
BOXES = max(1, MESSAGES // 10000)


def fill(node, messages):
    """The same on every node. Names are what counts, so a content has one in each mailbox."""
    each = messages // BOXES
    bases = ["16%08d.M%dP1.full" % (i, i) for i in range(each)]
    pool = os.path.join(node.data, "pool")
    os.makedirs(pool)
    for base in bases:
        with open(os.path.join(pool, base), "w") as f:
            f.write("Message-ID: <%s@test>\n\n" % base)
        os.chown(os.path.join(pool, base), UID, GID)
    for n in range(BOXES):
        box = node.stored("full%d" % n, "Maildir")
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(box, sub))
        for base in bases:
            os.link(os.path.join(pool, base), os.path.join(box, "cur", base + ":2,S"))
        with open(os.path.join(box, "dovecot-uidlist"), "w") as f:
            f.write("3 V1600000000 N%d G%032x\n" % (each + 1, n + 1))
            f.writelines("%d :%s\n" % row for row in enumerate(bases, 1))
        for path in [node.stored("full%d" % n), box] + [os.path.join(box, x) for x in os.listdir(box)]:
            os.chown(path, UID, GID)


class Pair(backends.Pair):
    def up(self):
        self.options["disk"] = 0        # nothing of this is timed
        self.both = backends.pair.Pair(self.run_dir, **self.options)
        self.both.up()
        util.parallel(*(lambda x=x: fill(x, MESSAGES) for x in self.both.nodes))
        util.parallel(*(x.start for x in self.both.nodes))
        self.node, self.mount = self.both.a, self.both.a.mount


def now(pid):
    """Resident, and of that without pages of files (LMDB's, which the kernel can take back); in MiB."""
    found = {}
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            key, _, rest = line.partition(":")
            if key in ("VmRSS", "RssAnon", "VmHWM"):
                found[key] = round(int(rest.split()[0]) / 1024, 1)
    return {"resident": found["VmRSS"], "own": found["RssAnon"], "peak": found["VmHWM"]}


def all_now(pair):
    return {name: now(pid) for name, pid in pair.pids().items() if "poke" not in name}


def show(say, when, found):
    say("%s: %s" % (when, "; ".join("%s %.0f MiB, %.0f of its own, peak %.0f%s" % (
        name, m["resident"], m["own"], m["peak"],
        ", %.0f of its own" % m["peak_own"] if "peak_own" in m else "")
        for name, m in sorted(found.items()))))


def walk(node):
    """Each name is looked at."""
    for where, _dirs, files in os.walk(node.mount):
        for name in files:
            os.stat(os.path.join(where, name))


class Peak(threading.Thread):
    """The most that each daemon had of its own at once. The kernel keeps such a mark of all that is
    resident only, pages of files among it."""

    def __init__(self, pair):
        super().__init__(daemon=True)
        self.pair, self.most, self.ended = pair, {}, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.05):
            try:
                found = all_now(self.pair)
            except (OSError, KeyError):     # who starts a daemon is gone when that runs
                continue
            for name, m in found.items():
                self.most[name] = max(self.most.get(name, 0), m["own"])

    def end(self):
        self.ended.set()
        self.join()
        return self.most


class Steady:
    """Has what the daemons have of their own not changed for two checkpoints?"""

    SECONDS = 25

    def __init__(self, pair):
        self.pair, self.last, self.since = pair, None, util.now()

    def __call__(self):
        own = {name: m["own"] for name, m in all_now(self.pair).items()}
        if self.last is None or any(abs(own[k] - self.last[k]) > 1 for k in own):
            self.last, self.since = own, util.now()
        return util.now() - self.since > self.SECONDS


def part(bench, say):
    pair = Pair("disk")
    found = {"messages": MESSAGES}
    try:
        pair.up()
        start, peak = util.now(), Peak(pair)
        pair.both.wait_in_sync(timeout=3000)
        say("memory: %d messages compared in %.0f s" % (MESSAGES, util.now() - start))
        found["compared"] = all_now(pair)
        most = peak.end()
        for name, m in found["compared"].items():
            m["peak_own"] = most[name]
        show(say, "compared", found["compared"])
        util.poll(lambda: "memory that does not change: %s" % all_now(pair), Steady(pair), 180)
        found["afterwards"] = all_now(pair)
        show(say, "afterwards", found["afterwards"])
        walk(pair.node)
        found["walked"] = all_now(pair)
        show(say, "after a walk through the mount", found["walked"])
    finally:
        pair.down()
    bench.out["memory_full"] = found
