#!/usr/bin/env python3
"""Quota (maildirsize) follows what was delivered and expunged on either node."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


import re  # noqa: E402


def usage(client):
    """KiB used, by GETQUOTAROOT (which makes the maildirsize file)."""
    for parts in client.command("GETQUOTAROOT INBOX"):
        match = re.search(rb"STORAGE (\d+) ", parts[0])
        if match:
            return int(match.group(1))
    return None


def said_and_real(node, user):
    """(bytes, messages) that maildirsize adds up to, and what is there."""
    try:
        with open(node.stored(user, "Maildir", "maildirsize")) as f:
            rows = [line.split() for line in f.read().splitlines()[1:]]
        real = [os.path.getsize(node.stored(user, "Maildir", d, name)) for d in ("cur", "new")
                for name in os.listdir(node.stored(user, "Maildir", d))]
        return (sum(int(r[0]) for r in rows), sum(int(r[1]) for r in rows)), (sum(real), len(real))
    except (OSError, ValueError, IndexError) as error:
        return str(error), None


def settle(t, user, what):
    for node in t.pair.nodes:
        util.poll(lambda: "%s: maildirsize right after %s: says, is: %s" % (
            node.host, what, said_and_real(node, user)),
            lambda: len(set(said_and_real(node, user))) == 1)


def test(t):
    user = t.pair.user("quota")
    for node in t.pair.nodes:
        with node.imap(user) as client:
            usage(client)
    for i in range(8):
        (t.a if i % 2 else t.b).deliver(user, mail.message("q", size=20000))
    t.wait_equal(user)
    settle(t, user, "8 deliveries")
    with t.b.imap(user, mailbox="INBOX") as client:
        client.store("1:3", "+FLAGS.SILENT", "\\Deleted")
        client.expunge()
    t.wait_equal(user)
    settle(t, user, "3 expunged")
    sizes = []
    for node in t.pair.nodes:
        with node.imap(user) as client:
            sizes.append(usage(client))
    t.equal(sizes[0], sizes[1], "KiB used on a and b")
    t.check(95 <= sizes[0] <= 120, "%s KiB used, should be about 100", sizes[0])


case.main(test)
