#!/usr/bin/env python3
"""What mailfs knows of inodes it gives back when the kernel has forgotten them.

A walk through a large store must not cost memory for ever.
"""

import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, util  # noqa: E402

COUNT = 10000       # more than GIVE_BACK_FROM in mailfs/inode.c


def memory(m):
    """Bytes of the worker: of the table of inodes, and of all that it has allocated (threads' buffers too)."""
    with open("/proc/%d/status" % alone.worker_of(m.pid)) as f:
        text = f.read()
    return [int(re.search(r"%s:\s+(\d+) kB" % key, text).group(1)) << 10 for key in ("RssShmem", "RssAnon")]


def test(t):
    with alone.Alone() as m:
        m.mailbox()
        for i in range(COUNT):
            os.mknod(m.stored("box/cur", "%d.M%06dP1.mail.example.org,S=1:2,S" % (1700000000 + i, i)))
        before = memory(m)[0]
        for name in os.listdir(m.path("box/cur")):
            os.stat(m.path("box/cur", name))
        table, rest = memory(m)
        t.check(table - before > COUNT * 60, "%d inodes known take %d bytes of the table", COUNT, table - before)
        shutil.rmtree(m.path("box"))
        util.poll(lambda: "of a table of %d bytes, %d when empty, %d are left" % (table, before, memory(m)[0]),
                  lambda: memory(m)[0] - before < (table - before) / 2)
        t.figure("table of %d KiB for %d inodes, %d when they were forgotten; the rest %d, %d KiB", table >> 10, COUNT,
                 memory(m)[0] >> 10, rest >> 10, memory(m)[1] >> 10)


case.main(test, own="none")
