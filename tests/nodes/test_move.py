#!/usr/bin/env python3
"""COPY, MOVE and EXPUNGE on either node."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def wait_there(client, folder, ids):
    util.poll(lambda: "%s in %s" % (sorted(ids), folder),
              lambda: client.select(folder) and set(client.ids().values()) == set(ids))


def test(t):
    user = t.pair.user("move", ("Work", "Old"))
    ids = [t.a.deliver(user, mail.message("m%d" % i)) for i in range(6)]
    with t.a.imap(user) as on_a, t.b.imap(user) as on_b:
        wait_there(on_b, "INBOX", ids)
        on_b.move("1,2", "Work")
        wait_there(on_a, "Work", ids[:2])
        on_a.copy("1:2", "Old")
        wait_there(on_b, "Old", ids[:2])
        # out and in again: the base name comes back
        on_b.select("Work")
        on_b.move("1", "INBOX")
        wait_there(on_a, "INBOX", [ids[0]] + ids[2:])
        t.check(max(on_a.ids()) == 7, "the returned message has UID %s, not 7", max(on_a.ids()))
        on_a.store("3:4", "+FLAGS.SILENT", "\\Deleted")
        on_a.expunge()
        wait_there(on_b, "INBOX", [ids[0]] + ids[4:])
        on_b.select("Old")
        on_b.store("1:*", "+FLAGS.SILENT", "\\Deleted")
        on_b.expunge()
        wait_there(on_a, "Old", [])
    view = t.wait_equal(user)
    compare.assert_has(view, [ids[0]] + ids[4:], "INBOX", exactly=True)
    compare.assert_has(view, [ids[1]], "Work", exactly=True)
    compare.assert_has(view, [], "Old", exactly=True)


case.main(test)
