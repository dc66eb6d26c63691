#!/usr/bin/env python3
"""A new folder cannot be given its id, as its disk fails in that moment: it is not made, so that nobody puts mail into
what only one node would ever have; made once more it is on both."""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, points, util  # noqa: E402
from lab.pair import Pair  # noqa: E402


def story(t, directory):
    with Pair(timeout=2, start=False) as pair:
        try:
            armed = {(node.letter, daemon): points.Points(directory, node, daemon)
                     for node in pair.nodes for daemon in ("mailfs", "syncd")}
            util.parallel(*(n.start for n in pair.nodes))
            pair.wait_in_sync()
            user = pair.user("folder")
            pair.a.deliver(user, mail.message())
            compare.wait_equal(pair, user)
            armed["a", "mailfs"].arm(points.FAIL, op="setxattr", cls="folder", error=errno.EIO)
            with pair.a.imap(user) as client:
                try:
                    client.create("Made")
                    t.check(False, "the folder was made")
                except util.Fail as error:
                    t.figure("CREATE: %s", error)
                t.check(armed["a", "mailfs"].disarm(), "no folder was to be given an id")
                t.check(not os.path.exists(pair.a.stored(user, "Maildir/.Made")), "it is there")
                client.create("Made")
                client.append("Made", mail.message())
                client.logout()
            compare.wait_equal(pair, user)
            t.check(os.path.isdir(pair.b.stored(user, "Maildir/.Made")), "it is not on b")
        except BaseException:
            pair.report_failure()
            raise


def test(t):
    t.needs_mailfs()
    t.forgive(r"Input/output error")
    with points.armed("folder-id") as directory:
        story(t, directory)


case.main(test, own="none", seconds=60)
