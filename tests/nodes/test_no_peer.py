#!/usr/bin/env python3
"""No peer configured, and no syncd running: the mount serves alone."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


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
    # a peer comes later: what was there and what came meanwhile reaches it
    t.a.stop("dovecot", "mailfs", "syncd")
    t.pair.configure()
    util.parallel(lambda: t.a.start("syncd", "mailfs", "dovecot"),
                  lambda: t.b.start("syncd", "mailfs", "dovecot"))
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), ids, exactly=True)


case.main(test, own=True, start=False, postfix=False)
