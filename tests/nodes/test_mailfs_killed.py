#!/usr/bin/env python3
"""mailfs of node a killed: its stale mount is cleaned at the next start; b serves on."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, outage, util  # noqa: E402

THREADS = 2


def test(t):
    t.needs_mailfs()
    # what Dovecot says while its mail is not there is not of interest, what it does after is
    t.forgive(outage.MOUNT_LOST)
    user = t.pair.user("mountdied")
    ids = [t.a.deliver(user, mail.message("before")) for _ in range(5)]
    before = t.wait_equal(user)["folders"]["INBOX"]
    busy = t.a.imap(user, mailbox="INBOX")
    run = outage.Deliveries(t.a, [user], threads=THREADS)
    run.wait_count(10)
    t.a.kill("mailfs")
    acked = run.end()[user]
    start = util.now()
    on_b = [t.b.deliver(user, mail.message("at b"))]
    t.figure("a delivery at b %.1f s later", util.now() - start)
    t.check(util.now() - start < 5, "b waited %.1f s", util.now() - start)
    busy.close()
    start = util.now()
    t.a.start("mailfs")
    t.pair.wait_in_sync()
    on_b.append(t.b.deliver(user, mail.message("at b")))
    on_a = [t.a.deliver(user, mail.message("at a"))]
    view = t.wait_equal(user)
    t.figure("a serves, equal %.1f s after its start", util.now() - start)
    compare.assert_has(view, ids + acked + on_a + on_b)
    # What was under way in the two sessions may be there twice, under the name it was prepared with
    # and under its last one: b publishes what it does not hear of any more, rather twice than never.
    # Also when it was answered with 250: Dovecot does not look at what the unlink of its lock returns.
    twice = [m for m, n in compare.count_ids(view, "INBOX").items() if n > 1]
    t.check(not set(twice) & set(ids + on_a + on_b), "not under way, and there twice: %s", twice)
    t.check(len(twice) <= THREADS, "more than were under way are there twice: %s", twice)
    if twice:
        t.figure("%d mail under way there twice", len(twice))
    after = view["folders"]["INBOX"]
    t.equal(after[0], before[0], "UIDVALIDITY")
    for uid, row in before[1].items():
        t.equal(after[1].get(uid, (None, None))[1], row[1], "UID %d" % uid)


case.main(test, own=True)
