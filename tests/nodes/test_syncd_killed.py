#!/usr/bin/env python3
"""syncd of node a killed, and stopped; the mount serves; it comes back."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


import signal  # noqa: E402


def round_of(t, user, sig):
    ids = [t.a.deliver(user, mail.message("before"))]
    start = util.now()
    t.a.kill("syncd", sig)
    ids.append(t.a.deliver(user, mail.message("without syncd")))
    took = util.now() - start
    t.check(took < 5, "a delivery without syncd took %.1f s", took)
    start = util.now()
    ids.append(t.a.deliver(user, mail.message("without syncd too")))
    t.check(util.now() - start < 1.5, "the next one took %.1f s", util.now() - start)
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Seen" if sig == signal.SIGKILL else "\\Flagged")
    start = util.now()
    t.a.start("syncd")
    t.pair.wait_in_sync()
    view = t.wait_equal(user)
    t.figure("signal %d: first delivery %.1f s, equal again %.1f s after the start", sig, took,
             util.now() - start)
    compare.assert_has(view, ids)
    compare.assert_no_duplicates(view)
    return view


def test(t):
    t.needs_mailfs()
    user = t.pair.user("syncd")
    round_of(t, user, signal.SIGKILL)
    view = round_of(t, user, signal.SIGTERM)
    t.equal(set(view["folders"]["INBOX"][1][1][0]), {"\\Seen", "\\Flagged"}, "flags of UID 1")


case.main(test)
