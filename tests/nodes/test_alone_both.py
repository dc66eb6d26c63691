#!/usr/bin/env python3
"""Both sides change the same mailbox while apart: nothing is lost."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def test(t):
    t.needs_mailfs()
    user = t.pair.user("apart")
    ids = [t.a.deliver(user, mail.message("common %d" % i)) for i in range(4)]
    t.wait_equal(user)
    t.pair.cut_link(silent=False)
    for node in t.pair.nodes:
        node.wait_state("alone")
    for node in t.pair.nodes:
        ids += [node.deliver(user, mail.message("at " + node.host)) for _ in range(3)]
    appended = mail.message("appended")
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Flagged")
    with t.b.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Answered")
        client.append("INBOX", appended)
    ids.append(mail.message_id(appended))
    start = util.now()
    t.pair.heal_link()
    t.pair.wait_in_sync()
    view = t.wait_equal(user)
    t.figure("merged %.1f s after contact", util.now() - start)
    compare.assert_has(view, ids, exactly=True)
    compare.assert_no_duplicates(view)
    more = [t.a.deliver(user, mail.message()), t.b.deliver(user, mail.message())]
    compare.assert_has(t.wait_equal(user), ids + more, exactly=True)


case.main(test)
