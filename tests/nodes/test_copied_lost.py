#!/usr/bin/env python3
"""One delivery to two users, the second of whom has a mailbox that cannot be merged yet; then its node dies. Both
were acknowledged, so the other node has both; and it is one message each when the node is back."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, locks, mail, util  # noqa: E402


def test(t):
    t.needs_mailfs()
    first, second = users = [t.pair.user("copied") for _ in range(2)]
    for user in users:
        t.a.deliver(user, mail.message("before"))
        t.wait_equal(user)
    t.pair.cut_link(silent=False)
    for node in t.pair.nodes:
        node.wait_state("alone")
    apart = t.b.deliver(second, mail.message("while apart"))
    with locks.Holder(t.b, second) as holder:       # so that it cannot be merged
        t.pair.heal_link()
        t.a.wait_state("catching-up")
        text = mail.message("to both")
        ident, start = mail.message_id(text), util.now()
        t.equal([reply[:3] for reply in t.a.lmtp(users, text)], ["250", "250"], "LMTP's answers")
        t.figure("answered after %.1f s", util.now() - start)
        compare.wait_has(t.b, first, [ident])
        t.a.crash(silent=True)
        holder.release()
    t.b.wait_state("alone", timeout=10)
    compare.wait_has(t.b, second, [apart, ident])
    t.a.revive()
    t.pair.wait_in_sync(timeout=30)
    for user in users:
        view = t.wait_equal(user)
        compare.assert_has(view, [ident])
        compare.assert_no_duplicates(view)


case.main(test, own=True, postfix=False)
