#!/usr/bin/env python3
"""What has come of a large message is not sent again, and of a large file only what was changed."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, relay, util  # noqa: E402


MIB = 1 << 20
SIZE, RATE, STEP = 60 * MIB, 64 * MIB, 12 * MIB
LOST = 3 * MIB      # of each cut, at most: what was in the kernel's and the link's queues
PART = "h-"         # names in the stage (docs/INTERFACES.md)


def parts(node):
    where = os.path.join(node.store, ".mailfs", "stage")
    found = [os.path.join(where, name) for name in os.listdir(where) if name.startswith(PART)]
    return [path for path in found if os.path.getsize(path) >= MIB]


def cut_after(t, link, more):
    upto = link.forwarded + more
    util.poll("%d MiB more on their way" % (more // MIB), lambda: link.forwarded >= upto, 20)
    link.cut()
    util.poll("a part is kept", lambda: parts(t.b))


def whole(t, user, ids):
    t.pair.wait_in_sync(30)
    view = t.wait_equal(user)
    compare.assert_has(view, ids, exactly=True)
    t.equal(parts(t.b), [], "parts that are left")


def cut_often(t, link):
    """While it is delivered, while it is fetched, by a kill of the one and a restart of the other."""
    user, text = t.pair.user("resume"), mail.message("large", size=SIZE)
    start, link.rate = link.forwarded, RATE
    sender = util.Thread(t.a.deliver, user, text)
    cut_after(t, link, STEP)
    sender.join()
    cut_after(t, link, STEP)
    util.poll("some more of it", lambda: link.forwarded - start > 3 * STEP, 20)
    t.b.kill("syncd")
    t.b.start("syncd")
    util.poll("some more of it", lambda: link.forwarded - start > 4 * STEP, 20)
    t.a.stop("syncd")
    t.a.start("syncd")
    whole(t, user, [mail.message_id(text)])
    link.rate = None
    sent = link.forwarded - start
    t.figure("60 MiB, cut four times: %.1f MiB sent", sent / MIB)
    t.check(abs(sent - len(text)) < 4 * LOST, "%d bytes of %d were sent", sent, len(text))


def spoilt(t, link):
    """What has come is not what it should be: all of it is sent, and none of what was there is used."""
    user, text = t.pair.user("spoilt"), mail.message("large", size=8 * MIB)
    start, link.rate = link.forwarded, RATE // 8
    sender = util.Thread(t.a.deliver, user, text)
    cut_after(t, link, 4 * MIB)
    t.b.stop("syncd")
    sender.join()
    with open(parts(t.b)[0], "r+b") as f:
        f.seek(MIB // 2)
        f.write(b"spoilt")
    t.b.start("syncd")
    whole(t, user, [mail.message_id(text)])
    link.rate = None
    sent = link.forwarded - start
    t.figure("8 MiB, spoilt: %.1f MiB sent", sent / MIB)
    t.check(sent > len(text) + 2 * MIB, "%d bytes of %d were sent", sent, len(text))


def content(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return None


def file_changed(t, link):
    user = t.pair.user("file")
    here, there = t.a.home(user, "large.bin"), t.b.home(user, "large.bin")
    old = os.urandom(8 * MIB)
    new = old[:MIB] + b"else" + old[MIB + 4:] + b"more"
    with open(here, "wb") as f:
        f.write(old)
    util.poll("the file on b", lambda: content(there) == old, 20)
    start = link.forwarded + link.returned
    with open(here, "r+b") as f:
        f.seek(MIB)
        f.write(new[MIB:])
    util.poll("the changed file on b", lambda: content(there) == new, 20)
    sent = link.forwarded + link.returned - start
    t.figure("a file of 8 MiB, changed: %d KiB, both ways", sent >> 10)
    t.check(sent < MIB // 2, "%d bytes were sent", sent)


def test(t):
    t.needs_mailfs()
    with relay.between(t.pair) as link:
        file_changed(t, link)
        cut_often(t, link)
        spoilt(t, link)


case.main(test, own=True, seconds=120)
