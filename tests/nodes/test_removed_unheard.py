#!/usr/bin/env python3
"""A node is cut off before it hears that the other has what it sent; the other deletes the folder with it: it does not
come back (DESIGN 8.11)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def copied(node, user):
    with node.imap(user, mailbox="Doomed") as client:
        return len(client.ids())


def test(t):
    t.needs_mailfs()
    t.forgive(r"UIDVALIDITY changed")   # as it is to be
    user = t.pair.user("unheard", ("Doomed", "Mailed"))
    for _ in range(2):
        t.a.deliver(user, mail.message("before"))
    t.wait_equal(user)
    with t.a.imap(user, mailbox="INBOX") as client:
        for folder in ("Doomed", "Mailed"):     # the tokens are at a then
            client.copy("1", folder)
        t.a.space.drop(True)
        client.copy("2", "Doomed")
    t.a.wait_state("alone")
    with t.a.imap(user) as client:              # this one b never hears of
        client.append("Mailed", mail.message("news"))
    t.b.wait_state("alone")
    util.poll(lambda: "b: both are in Doomed", lambda: copied(t.b, user) == 2, 10)
    with t.b.imap(user) as client:
        client.delete("Doomed")
        client.delete("Mailed")
    t.pair.heal_link()
    t.pair.wait_in_sync()
    folders = t.wait_equal(user)["folders"]
    t.check("Doomed" not in folders, "it is there again: what was in it b had known when it deleted it")
    t.check("Mailed" in folders, "what a had put into it is gone with it")


case.main(test, seconds=60)
