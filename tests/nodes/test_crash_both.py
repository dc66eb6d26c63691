#!/usr/bin/env python3
"""Both nodes die (SIGKILL of everything) amid work, and come back in either order, one after the other."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, outage, storm, util  # noqa: E402

THREADS = 2


def look(node, user, witness):
    with node.imap(user) as client:
        validity = client.select()["uidvalidity"]
        witness.look(node.host, user, "INBOX", validity, client.ids())


def round_of(t, users, witness, first, second):
    """Work at both, death of both, `first` serves alone for a while; the Message-IDs acknowledged."""
    for node in t.pair.nodes:
        for user in users:
            look(node, user, witness)
    runs = [outage.Deliveries(node, users, threads=THREADS) for node in t.pair.nodes]
    for run in runs:
        run.wait_count(20)
    # not at once: what cuts the link of one runs on the other
    t.a.crash()
    t.b.crash()
    acked = [run.end() for run in runs]
    first.space.drop(False)
    first.start()
    late = {user: first.deliver(user, mail.message("alone after the crash")) for user in users}
    look(first, users[0], witness)
    start = util.now()
    second.space.drop(False)
    second.start()
    t.pair.wait_in_sync()
    t.figure("%s first: in-sync %.1f s after the start of the other", first.host, util.now() - start)
    return {user: [i for a in acked for i in a[user]] + [late[user]] for user in users}


def test(t):
    t.needs_mailfs()
    users = [t.pair.user("dead") for _ in range(2)]
    witness = storm.Witness()
    want, twice = {user: [] for user in users}, 0
    for first, second in ((t.b, t.a), (t.a, t.b)):
        more = round_of(t, users, witness, first, second)
        for user in users:
            want[user] += more[user]
            view = t.wait_equal(user)
            compare.assert_has(view, want[user])
            validity, rows = view["folders"]["INBOX"]
            witness.look("end", user, "INBOX", validity, {u: r[1] for u, r in rows.items()})
    for user in users:
        count = compare.count_ids(t.wait_equal(user), "INBOX")
        extra = [i for i, n in count.items() if n > 1]
        twice += len(extra)
    # What was under way in a session when it died may be there twice: rather that than never.
    t.check(twice <= 2 * 2 * THREADS, "%d messages are there twice", twice)
    t.figure("%d acknowledged, %d of those under way twice", sum(map(len, want.values())), twice)


case.main(test, own=True, postfix=False, seconds=120)
