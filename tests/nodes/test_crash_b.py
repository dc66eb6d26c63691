#!/usr/bin/env python3
"""The same death on the receiving side: a goes on, what b had is still there."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, outage, util  # noqa: E402


TIMEOUT = 3


def test(t):
    t.needs_mailfs()
    users = [t.pair.user("crash") for _ in range(2)]
    run = outage.Deliveries(t.a, users)
    run.wait_count(40)
    died = util.now()
    t.b.crash(silent=True)
    before = run.count()
    run.wait_count(before + 40)
    t.figure("40 more deliveries %.1f s after b's death", util.now() - died)
    t.check(util.now() - died < TIMEOUT + 5, "deliveries on a took %.1f s", util.now() - died)
    acked = run.end()
    t.a.wait_state("alone")
    with t.a.imap(users[0], mailbox="INBOX") as client:
        gone = [client.ids()[u] for u in (1, 2, 3)]
        client.store("1:3", "+FLAGS.SILENT", "\\Deleted")
        client.expunge()
        client.store("4", "+FLAGS.SILENT", "\\Seen Marked")
    start = util.now()
    t.b.revive()
    t.pair.wait_in_sync()
    views = [t.wait_equal(user) for user in users]
    t.figure("b caught up in %.1f s", util.now() - start)
    for user, view in zip(users, views):
        compare.assert_has(view, set(acked[user]) - set(gone))
        # all that was under way has its name from a, which lived on
        compare.assert_no_duplicates(view)
    t.check(not set(gone) & set(compare.count_ids(views[0], "INBOX")), "expunged mail is back")
    t.wait_equal(t.pair.user("after"))


case.main(test, own=True)
