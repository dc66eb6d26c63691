#!/usr/bin/env python3
"""No peer configured, and no syncd running: the mount serves alone."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def peer_comes(t, user, ids):
    """syncd is started anew for it, mailfs is not, and gives UIDs without asking: they do not meet before it is."""
    mailfs = t.a.daemon("mailfs").running()
    t.a.stop("syncd")
    t.pair.configure()
    t.a.start("syncd")
    t.b.start("syncd", "mailfs", "dovecot")
    util.poll("the word of what is to be done", lambda: "knows of no peer" in t.a.status()["last_error"], 10)
    ids += [t.a.deliver(user, mail.message()) for _ in range(2)]
    t.equal([node.state() for node in t.pair.nodes], ["alone", "alone"], "while a's mailfs asks nobody")
    util.proc_signal(mailfs, signal.SIGHUP)
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), ids, exactly=True)


def test(t):
    t.needs_mailfs()
    t.a.mailfs.write(peer=None)
    t.a.start("mailfs", "dovecot")          # no syncd at all
    user = "lonely"
    start = util.now()
    ids = [t.a.deliver(user, mail.message()) for _ in range(3)]
    t.figure("3 deliveries without syncd %.2f s", util.now() - start)
    t.check(util.now() - start < 3, "deliveries without syncd took %.1f s", util.now() - start)
    t.a.start("syncd")
    t.a.wait_state("no-peer")
    start = util.now()
    ids += [t.a.deliver(user, mail.message()) for _ in range(3)]
    t.check(util.now() - start < 2, "deliveries without a peer took %.1f s", util.now() - start)
    with t.a.imap(user, mailbox="INBOX") as client:
        t.equal(sorted(client.ids().values()), sorted(ids), "mail on a")
        client.store("1", "+FLAGS", "\\Seen")
        client.create("Folder")
    peer_comes(t, user, ids)


case.main(test, own=True, start=False, postfix=False)
