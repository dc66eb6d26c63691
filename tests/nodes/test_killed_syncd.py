#!/usr/bin/env python3
"""syncd is killed: what was removed here, or a flag cleared, does not come back (DESIGN 8.8).

What it is about came from the peer, or was delivered here, within the ten seconds between two
checkpoints; it is removed or cleared before the kill, or while syncd is not there. LAB_LONG=1: 50
rounds; a few otherwise."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


ROUNDS = 50 if os.environ.get("LAB_LONG") == "1" else 4


def here(client, idents):
    client.noop()
    ids = client.ids()
    return set(idents) <= set(ids.values()) and {v: k for k, v in ids.items()}


def change(client, uids, gone, cleared):
    for ident in gone:
        client.store(str(uids[ident]), "+FLAGS.SILENT", "\\Deleted")
    client.expunge()
    client.store(str(uids[cleared]), "-FLAGS.SILENT", "\\Flagged")


def one_round(t, user, node, peer, before, whole):
    """before: what is done before the kill; else while syncd is away. whole: mailfs dies as well."""
    mine, theirs = node.deliver(user, mail.message()), peer.deliver(user, mail.message())
    flagged = peer.deliver(user, mail.message())
    with peer.imap(user, mailbox="INBOX") as there:
        ids = util.poll("mail on " + peer.host, lambda: here(there, (mine, theirs, flagged)), 10)
        there.store(str(ids[flagged]), "+FLAGS.SILENT", "\\Flagged")
    with node.imap(user, mailbox="INBOX") as client:
        uids = util.poll("mail on " + node.host, lambda: here(client, (mine, theirs, flagged)), 10)
        util.poll("the flag on " + node.host,
                  lambda: (client.noop(), "\\Flagged" in client.flags(uids[flagged]))[1], 10)
        if before:
            change(client, uids, (mine, theirs), flagged)
        if not whole:
            node.kill("syncd")
            if not before:
                change(client, uids, (mine, theirs), flagged)
    if whole:
        node.crash(silent=False)
        node.revive()
    else:
        node.start("syncd")
    t.pair.wait_in_sync()
    view = t.wait_equal(user)
    back = {mine, theirs} & set(compare.count_ids(view, "INBOX"))
    t.check(not back, "%d of 2 expunged messages are back", len(back))
    flags = [row[0] for row in view["folders"]["INBOX"][1].values() if row[1] == flagged]
    t.equal(len(flags), 1, "messages that were flagged, and not any more")
    t.check("\\Flagged" not in flags[0], "a cleared flag is back")


def test(t):
    t.needs_mailfs()
    user = t.pair.user("killed")
    for i in range(ROUNDS):
        node, peer = ((t.a, t.b), (t.b, t.a))[i % 2]
        one_round(t, user, node, peer, before=i % 4 < 2, whole=i % 8 == 4)


case.main(test, own=True, seconds=60 + 6 * ROUNDS, postfix=False)
