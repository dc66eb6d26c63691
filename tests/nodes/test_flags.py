#!/usr/bin/env python3
"""Flags set and taken on one node are seen on the other, in a session that is open."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def test(t):
    user = t.pair.user("flags")
    for _ in range(3):
        t.a.deliver(user, mail.message())
    times = []
    with t.a.imap(user, mailbox="INBOX") as on_a, t.b.imap(user) as on_b:
        util.poll("3 messages on b", lambda: on_b.select()["exists"] == 3)
        steps = [(on_b, on_a, 1, "+FLAGS", "\\Flagged", {"\\Flagged"}),
                 (on_a, on_b, 1, "+FLAGS", "\\Seen \\Answered", {"\\Flagged", "\\Seen", "\\Answered"}),
                 (on_b, on_a, 1, "-FLAGS", "\\Seen", {"\\Flagged", "\\Answered"}),
                 (on_a, on_b, 2, "FLAGS", "\\Draft", {"\\Draft"}),
                 (on_b, on_a, 2, "FLAGS", "", set()),
                 (on_a, on_b, 3, "+FLAGS", "\\Deleted", {"\\Deleted"}),
                 (on_b, on_a, 3, "-FLAGS", "\\Deleted", set())]
        for actor, watcher, uid, how, flags, want in steps:
            actor.store(str(uid), how, flags)
            start = util.now()
            util.poll(lambda: "UID %d: %s, seen: %s" % (uid, want, watcher.flags(uid)),
                      lambda: watcher.noop() is not None and watcher.flags(uid) == want)
            times.append(util.now() - start)
    t.figure("%d changes, seen after %.0f-%.0f ms", len(times), 1000 * min(times), 1000 * max(times))
    t.wait_equal(user)


case.main(test)
