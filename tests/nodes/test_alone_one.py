#!/usr/bin/env python3
"""Much done on one side while the link is down; contact makes both the same."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def busy(node, user):
    """Deliveries, flags, moves, expunges, folders; the Message-IDs of what is left of them."""
    with node.imap(user, mailbox="INBOX") as client:
        new = [node.deliver(user, mail.message("new %d" % i)) for i in range(5)]
        client.noop()
        client.store("1", "+FLAGS", "\\Seen Blue")
        client.move("2", "Keep")
        client.copy("3", "Keep")
        client.store("4,5", "+FLAGS.SILENT", "\\Deleted")
        client.expunge()
        # came and went: nothing of it may be left
        node.deliver(user, mail.message("came and went"))
        client.noop()
        last = max(client.uids())
        client.store(str(last), "+FLAGS.SILENT", "\\Deleted")
        client.expunge()
        client.create("Made")
        client.append("Made", mail.message("in the new folder"))
        client.rename("Rename", "Renamed")
        client.delete("Drop")
        client.subscribe("Made")
    return new


def test(t):
    t.needs_mailfs()
    user = t.pair.user("one", ("Keep", "Rename", "Drop"))
    old = [t.a.deliver(user, mail.message("old %d" % i)) for i in range(8)]
    with t.a.imap(user) as client:
        client.append("Rename", mail.message("inside"))
        client.append("Drop", mail.message("dropped"))
        client.select()
    before = t.wait_equal(user)
    t.pair.cut_link(silent=False)
    for node in t.pair.nodes:
        node.wait_state("alone")
    new = busy(t.b, user)
    alone = compare.user_view(t.b, user)
    start = util.now()
    t.pair.heal_link()
    t.pair.wait_in_sync()
    view = t.wait_equal(user)
    t.figure("equal %.1f s after contact", util.now() - start)
    t.equal(compare.view_difference(alone, view), [], "what b showed alone (a), what is there now (b)")
    compare.assert_has(view, [old[0], old[2]] + old[5:] + new, "INBOX", exactly=True)
    compare.assert_has(view, old[1:3], "Keep", exactly=True)
    t.equal(sorted(view["folders"]), ["INBOX", "Keep", "Made", "Renamed"], "folders")
    t.equal(view["folders"]["Renamed"][0], before["folders"]["Rename"][0], "UIDVALIDITY of the renamed")
    # and the pair works as before
    more = [t.a.deliver(user, mail.message()), t.b.deliver(user, mail.message())]
    compare.assert_has(t.wait_equal(user), more)


case.main(test)
