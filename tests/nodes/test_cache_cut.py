#!/usr/bin/env python3
"""A power cut takes the end of Dovecot's cache and leaves the index that points there: after the boot, as
packaging/systemd has it, each UID is shown with the headers of its own message.

Without that boot the headers of what is delivered next are shown for those before, too: looked at first."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import boot, case, mail  # noqa: E402

NUMBER = 8      # as many are lost from the cache as come after it: so each place there is taken again


def deliver(node, user, first):
    """All of one size: a record of the cache is as long as that of any other."""
    for n in range(first, first + NUMBER):
        node.deliver(user, mail.message("%04d" % n, ident="%04d@cache" % n))


def wrong(node, user):
    """{UID: (Message-ID of the headers, of the body)} where they are two messages'."""
    with node.imap(user, mailbox="INBOX") as client:
        heads, bodies = client.ids(), client.fetch("1:*", "(UID BODY.PEEK[])")
    both = {uid: (head, mail.message_id(bodies[uid]["BODY[]"])) for uid, head in heads.items()}
    return {uid: two for uid, two in both.items() if two[0] != two[1]}


def cut(t, user):
    """Messages, of which the cache forgets the later ones with the power, and the index does not."""
    with t.a.imap(user, mailbox="INBOX") as client:     # so Dovecot keeps this header from now on
        client.append("INBOX", mail.message("0000", ident="0000@cache"))
        client.ids()
    cache = os.path.join(t.a.dovecot.index, user, ".INBOX", "dovecot.index.cache")
    deliver(t.a, user, 1)
    t.equal(wrong(t.a, user), {}, "before the cut")
    size = os.path.getsize(cache)
    deliver(t.a, user, 1 + NUMBER)
    t.check(os.path.getsize(cache) > size, "the cache has not grown from its %d bytes", size)
    t.a.stop("dovecot")
    os.truncate(cache, size)


def after(t, user):
    t.a.start("dovecot")
    deliver(t.a, user, 1 + 2 * NUMBER)
    return wrong(t.a, user)


def test(t):
    t.needs_mailfs()
    without, user = t.pair.user("cachecut"), t.pair.user("cachecut")
    cut(t, without)
    found = after(t, without)
    t.check(found, "Dovecot notices by itself: the unit is not needed any more")
    cut(t, user)
    boot.remove_caches(t.a)
    t.equal(after(t, user), {}, "after the boot")
    t.figure("%d of %d UIDs had another message's headers without", len(found), NUMBER)


case.main(test)
