#!/usr/bin/env python3
"""mailfs of a dies with its mount between a delivery's rename into new/ and its line in the uidlist (DESIGN
8.19): on both nodes each UID names one message, headers and body alike."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, imap, mail, outage, util  # noqa: E402

BEFORE = 3      # deliveries that go well; each adds a line


def shown(node, user):
    """What a client is shown of each UID: the Message-ID, from the index's cache, and the body's own."""
    with node.imap(user, mailbox="INBOX") as client:
        bodies = client.fetch("1:*", "(UID BODY.PEEK[])")
        return {uid: (head, mail.message_id(bodies[uid]["BODY[]"])) for uid, head in client.ids().items()}


def test(t):
    t.needs_mailfs()
    t.b.start()                         # only a's mailfs is to die
    os.environ.update(MAILFS_NO_RESEND="1", MAILFS_DIE="number:%d" % (BEFORE + 1))
    t.a.start()
    t.pair.wait_in_sync()
    t.forgive(outage.MOUNT_LOST)
    user = t.pair.user("lostmount")
    ids = [t.a.deliver(user, mail.message("before %d" % i)) for i in range(BEFORE)]
    t.wait_equal(user)
    lost = mail.message("under way")
    try:
        if t.a.lmtp(user, lost, timeout=15)[0].startswith("250"):
            ids.append(mail.message_id(lost))
    except (util.Fail, OSError, imap.ImapError):
        pass
    util.poll("the mount made anew", lambda: "made anew" in open(t.a.log("mailfs")).read())
    t.pair.wait_in_sync()
    ids.append(t.b.deliver(user, mail.message("after, at b")))
    ids.append(t.a.deliver(user, mail.message("after, at a")))
    t.wait_equal(user)
    views = [shown(node, user) for node in t.pair.nodes]
    for node, view in zip(t.pair.nodes, views):
        for uid, (head, body) in view.items():
            t.equal(head, body, "%s: UID %d, headers and body" % (node.host, uid))
    t.equal(views[0], views[1], "what both nodes show")
    # what Dovecot's index may have given by itself is never given again
    t.check(max(views[0]) >= 1 << 16, "the next UID was not raised: %s", sorted(views[0]))
    t.check(set(ids) <= {body for _, body in views[0].values()}, "accepted and missing")


case.main(test, own=True, start=False, postfix=False)
