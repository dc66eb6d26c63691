#!/usr/bin/env python3
"""The link comes and goes while both sides work: nothing lost, nothing twice, no wrong UID."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, outage, storm, util  # noqa: E402


def look(t, witness, users):
    for node in t.pair.nodes:
        for user in users:
            with node.imap(user) as client:
                validity = client.select()["uidvalidity"]
                witness.look(node.host, user, "INBOX", validity, client.ids())


def outages(t, runs, witness, users):
    for number in range(3):
        before = sum(r.count() for r in runs)
        t.pair.cut_link(silent=number % 2 == 0)
        util.poll("20 more deliveries", lambda: sum(r.count() for r in runs) > before + 20, 20)
        t.pair.heal_link()
        t.pair.wait_in_sync()
        look(t, witness, users)


def test(t):
    t.needs_mailfs()
    users = [t.pair.user("flap") for _ in range(2)]
    witness = storm.Witness()
    runs = [outage.Deliveries(node, users, threads=2) for node in t.pair.nodes]
    try:
        outages(t, runs, witness, users)
    finally:
        acked = [r.end() for r in runs]
    t.pair.wait_in_sync()
    total = 0
    for user in users:
        view = t.wait_equal(user, timeout=25)
        want = [i for a in acked for i in a[user]]
        total += len(want)
        compare.assert_has(view, want)
        compare.assert_no_duplicates(view)
        for folder, (validity, rows) in view["folders"].items():
            witness.look("end", user, folder, validity, {u: r[1] for u, r in rows.items()})
    t.figure("%d mails over 3 outages", total)


case.main(test)
