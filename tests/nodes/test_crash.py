#!/usr/bin/env python3
"""Node a dies (SIGKILL, silently) in the midst of deliveries; b serves on; a catches up."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, outage, util  # noqa: E402


TIMEOUT = 3
THREADS = 4


def test(t):
    t.needs_mailfs()
    users = [t.pair.user("crash") for _ in range(3)]
    mine = t.pair.user("crashclient")
    t.b.deliver(mine, mail.message())
    t.wait_equal(mine)
    client = outage.Client(t.b, mine)
    run = outage.Deliveries(t.a, users, threads=THREADS)
    run.wait_count(60)
    died = util.now()
    t.a.crash(silent=True)
    acked = run.end()
    client.wait_past(util.now())
    stalls = client.stalls(died)
    t.figure("%d answered 250; b stalled %.1f s", sum(map(len, acked.values())),
             max(stalls, default=0))
    t.b.wait_state("alone", timeout=TIMEOUT + 3)
    for user in users:
        compare.wait_has(t.b, user, acked[user])
    # b delivers and numbers on its own
    late = {user: t.b.deliver(user, mail.message("while a is dead")) for user in users}
    start = util.now()
    t.a.revive()
    t.pair.wait_in_sync()
    twice = []
    for user in users:
        view = t.wait_equal(user)
        compare.assert_has(view, acked[user] + [late[user]])
        twice += [ident for ident, n in compare.count_ids(view, "INBOX").items() if n > 1]
    # What was under way in a session when it died may be there twice: rather that than never.
    answered = [ident for ids in acked.values() for ident in ids] + list(late.values())
    t.check(not set(twice) & set(answered), "answered with 250, and there twice: %s", twice)
    t.check(len(twice) <= THREADS, "more than were under way are there twice: %s", twice)
    t.figure("a caught up in %.1f s", util.now() - start)
    client.end()
    t.check(len(stalls) <= 1, "b stalled %d times: %s", len(stalls), stalls)
    t.check(max(stalls, default=0) < TIMEOUT + 2, "b stalled for %.1f s", max(stalls, default=0))
    t.check(len(client.took) > 10, "the client on b did only %d things", len(client.took))
    t.wait_equal(mine)


case.main(test, own=True)
