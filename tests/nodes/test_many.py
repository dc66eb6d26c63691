#!/usr/bin/env python3
"""A folder of 20,000 messages: marked read, copied, expunged, each at once, while mail comes in.

However long the other node takes for one of these, it goes on: the nodes never part.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, crowd, outage, util  # noqa: E402


COUNT = 20000


def parted(t):
    """What the syncd logs said since the test began about the end of a connection."""
    found = []
    for node in t.pair.nodes:
        path = node.log("syncd")
        lines = util.tail(path, t.offsets.get(path, 0), 100000)
        found += ["%s: %s" % (node.host, x) for x in lines if " ended" in x]
    return found


def copy_and_expunge(t, on_a, on_b):
    start = util.now()
    on_a.copy("1:*", "Copies")
    t.figure("copied in %.1f s", util.now() - start)
    start = util.now()
    on_a.store("1:*", "+FLAGS.SILENT", "\\Deleted")
    on_a.expunge()
    t.figure("expunged in %.1f s", util.now() - start)
    util.poll("none of them on b", lambda: on_b.select("Many")["exists"] == 0, 30)
    util.poll("copies on b", lambda: on_b.select("Copies")["exists"] == COUNT, 30)


def unseen(client):
    client.noop()
    return len(client.uids("UNSEEN"))


def work(t, user):
    with t.a.imap(user, timeout=50) as on_a, t.b.imap(user, timeout=50) as on_b:
        start = util.now()
        on_a.create("Copies")
        crowd.fill(on_a, "Many", COUNT)
        t.equal(on_a.select("Many")["exists"], COUNT, "messages on a")
        t.figure("filled in %.1f s", util.now() - start)
        start = util.now()
        util.poll("20,000 messages on b", lambda: "Many" in on_b.list() and
                  on_b.select("Many")["exists"] == COUNT, 30)
        t.figure("on b after %.1f s", util.now() - start)
        util.poll("all unseen on b", lambda: unseen(on_b) == COUNT)
        start = util.now()
        on_a.store("1:*", "+FLAGS.SILENT", "\\Seen")
        marked = util.now() - start
        util.poll("no unseen left on b", lambda: unseen(on_b) == 0, 30)
        t.figure("marked read in %.1f s, on b after %.1f s", marked, util.now() - start)
        t.equal(on_a.uids(), list(range(1, COUNT + 1)), "UIDs on a")
        t.equal(on_b.uids(), list(range(1, COUNT + 1)), "UIDs on b")
        copy_and_expunge(t, on_a, on_b)


def test(t):
    user, other = t.pair.user("many"), t.pair.user("other")
    load = [outage.Deliveries(node, [other], threads=1) for node in t.pair.nodes]
    try:
        work(t, user)
    finally:
        for deliveries in load:
            deliveries.end()
    t.equal(parted(t), [], "the nodes parted")
    t.wait_equal(user, bodies=False, disk=False, timeout=20)


case.main(test, seconds=300)
