#!/usr/bin/env python3
"""A folder is made and deleted while the other node's syncd stands still; that one reads of it when the link has ended:
it goes (DESIGN 8.11)."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def patience(t, seconds):
    """How long a's syncd takes a silent b for alive."""
    t.a.mailfs.timeout = seconds
    t.a.mailfs.write(peer=t.b)
    t.a.stop("syncd")
    t.a.start("syncd")
    t.pair.wait_in_sync()


def there(node, user, folder):
    return os.path.isdir(node.stored(user, "Maildir", "." + folder, "cur"))


def made_and_deleted(t, user):
    t.a.daemon("syncd").kill(signal.SIGSTOP, wait=False)
    with t.b.imap(user) as client:
        client.create("Brief")
        client.append("Brief", mail.message("short-lived"))     # which waits for a until b goes on alone
    t.pair.cut_link()
    t.b.wait_state("alone")
    with t.b.imap(user) as client:
        client.delete("Brief")
    t.a.daemon("syncd").kill(signal.SIGCONT, wait=False)
    util.poll("a: the folder is there", lambda: there(t.a, user, "Brief"), 10)


def test(t):
    t.needs_mailfs()
    user = t.pair.user("untold")
    t.a.deliver(user, mail.message("before"))
    t.wait_equal(user)
    patience(t, 30)
    made_and_deleted(t, user)
    t.pair.heal_link()
    t.pair.wait_in_sync()
    folders = t.wait_equal(user)["folders"]
    t.check("Brief" not in folders, "it is there again")
    patience(t, t.b.mailfs.timeout)


case.main(test, seconds=60)
