#!/usr/bin/env python3
"""No block is free on the store's disk: mailfs's worker dies, then all of mailfs, and mail can be read, and removed."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, disk  # noqa: E402


def read(*parts):
    with open(os.path.join(*parts)) as f:
        return f.read()


def is_full(where):
    """No room for one more directory; those made are left."""
    try:
        os.mkdir(os.path.join(where, "full-%d" % len(os.listdir(where))))
    except OSError:
        return True
    return False


def fill(where):
    """Until that stays so when all is written: ext4 sets more aside before that than it takes then."""
    os.rename(disk.fill(where), os.path.join(where, "full-%d" % len(os.listdir(where))))
    os.sync()
    while not is_full(where):
        os.sync()


def test(t):
    with alone.Alone(size=24 << 20) as m:
        box = m.mailbox()
        for name in ("one", "two"):
            with open(os.path.join(box, "cur", name + ":2,"), "w") as f:
                f.write(name)
        fill(os.path.join(m.store, ".mailfs"))
        time.sleep(0.35)        # one that died sooner counts as one that dies at once
        m.replace_worker()
        t.equal(read(box, "cur", "one:2,"), "one", "a message after the worker's death")
        m.kill()
        fill(os.path.join(m.store, ".mailfs"))      # what the killed one held free has been given to somebody else
        m.start()
        t.equal(read(box, "cur", "two:2,"), "two", "a message after the start")
        os.unlink(os.path.join(box, "cur", "two:2,"))
        t.equal(os.listdir(os.path.join(box, "cur")), ["one:2,"], "the mailbox")


case.main(test, own="none")
