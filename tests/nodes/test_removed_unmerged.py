#!/usr/bin/env python3
"""A folder is deleted in contact, before it could be merged: what lives on of it names nothing by UIDs that were shown
(DESIGN 8.11)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, locks, mail, storm, util  # noqa: E402


def add(node, user, text):
    with node.imap(user) as client:
        client.append("Shown", mail.message(text))


def look(witness, node, user):
    """What a client of this node sees now; (UIDVALIDITY, highest UID)."""
    with node.imap(user) as client:
        validity = client.select("Shown")["uidvalidity"]
        seen = client.ids()
    witness.look(node.host, user, "Shown", validity, seen)
    return validity, max(seen)


def test(t):
    t.needs_mailfs()
    t.forgive(r"UIDVALIDITY changed")   # as it is to be
    user, witness = t.pair.user("unmerged", ("Shown",)), storm.Witness()
    for node in (t.a, t.b):     # the token is at b then: a leaves a gap, and b's list goes on below it
        add(node, user, "old at " + node.letter)
    t.wait_equal(user)
    t.pair.cut_link(silent=False)
    for node in t.pair.nodes:
        node.wait_state("alone")
        add(node, user, "new at " + node.letter)
    shown = look(witness, t.a, user)
    with locks.Holder(t.b, user, ".Shown") as holder:      # so that it cannot be merged
        t.pair.heal_link()
        t.a.wait_state("catching-up")
        with t.a.imap(user) as client:
            client.delete("Shown")
        holder.release()
    t.pair.wait_in_sync()
    view = t.wait_equal(user)
    t.check("Shown" in view["folders"], "what b had put into it is gone with it")
    validity, rows = view["folders"]["Shown"]
    t.figure("a had shown UIDs up to %d under UIDVALIDITY %d; it lives on with %s under %d", shown[1], shown[0],
             sorted(rows), validity)
    t.check(validity != shown[0] or min(rows) > shown[1], "UIDs that a had shown are given again")
    for node in t.pair.nodes:
        add(node, user, "later at " + node.letter)
        look(witness, node, user)
    compare.assert_no_duplicates(t.wait_equal(user))


case.main(test, seconds=90)
