"""A folder of 100 messages against one of 100,000, and what the large one costs in memory."""

import os

from lab import util
from lab.dovecot import GID, UID

import backends
import report

SIZES = (100, 100000)
ACTS = 500


def fill(load, top):
    """The mail of a server that is there before mailfs is."""
    run = ["setpriv", "--reuid=%d" % UID, "--regid=%d" % GID, "--clear-groups",
           os.path.join(load.dir, "bench_maildir")]
    for size in SIZES:
        where = backends.mail_dir(os.path.join(top, "folder%d" % size))
        util.run(run + ["make", where, "1", "1"])
        util.run(run + ["fill", where, "1", str(size), str(size)], timeout=300)


class Native(backends.Native):
    def up(self):
        super().up()
        fill(self.load, self.root)


class Bindfs(backends.Bindfs):
    """Shows them under another name."""

    def source(self):
        return self.native.root


class Alone(backends.Alone):
    """With the folders in its store."""

    def fill(self):
        fill(self.load, backends.mail_dir(self.node.stored("bench")))


def resident(backend):
    """Of mailfs; what its processes share is counted once."""
    total = 0
    for name, pid in backend.pids().items():
        with open("/proc/%d/smaps_rollup" % pid) as f:
            pss = [line for line in f if line.startswith("Pss:")]
        total += int(pss[0].split()[1]) * 1024 if name.startswith("mailfs") else 0
    return total


def inode_memory(bench, backend):
    """Bytes of mailfs for each of the messages that the kernel has in its cache."""
    backends.drop_caches()
    before = resident(backend)
    bench.load.run(backend, "bench_maildir", "stat", os.path.join(backend.root, "folder%d" % SIZES[1]),
                   1, SIZES[1], SIZES[1])
    return (resident(backend) - before) / SIZES[1]


def acts(bench, backend):
    """{size: {round: figures}}; once before, so that all have read what they read again."""
    found = {size: {} for size in SIZES}
    for number in range(-1, bench.options.rounds):
        for size in SIZES:
            where = os.path.join(backend.root, "folder%d" % size)
            got = bench.load.run(backend, "bench_maildir", "act", where, 1, ACTS, size)[0]
            if number >= 0:
                found[size][number] = got
    return found


def row(name, by_size):
    grows = [by_size[SIZES[1]][n]["p50_us"] / by_size[SIZES[0]][n]["p50_us"] for n in by_size[SIZES[0]]]
    return name, ["%.0f" % report.median([f["p50_us"] for f in by_size[s].values()])
                  for s in SIZES] + ["%.2f" % report.median(grows)]


def part(bench, say):
    native = Native()
    everything = [native, Bindfs(), Alone()]
    results, bytes_each = {}, None
    try:
        for backend in everything:
            backend.load, backend.native = bench.load, native
            for up in bench.bring_up([backend]):
                if isinstance(up, Alone):
                    bytes_each = inode_memory(bench, up)
                results[up.name] = acts(bench, up)
                if up is not native:
                    up.down()
    finally:
        for backend in everything:
            backend.down()
    bench.out.update(folder=results, bytes_per_inode=bytes_each)
    report.table("Flag, stat, read, unflag in a folder of so many messages, p50 in microseconds",
                 ["100", "100,000", "grows by"], [row(n, r) for n, r in results.items()],
                 "mailfs: %.0f bytes for each of 100,000 messages in the kernel's cache" % bytes_each
                 if bytes_each else "")
    say("folder: done")
