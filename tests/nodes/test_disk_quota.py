#!/usr/bin/env python3
"""A file system's quota of the mail's owner is used up on a node: mail is deferred, never bounced, and comes later."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, disk, mail, util  # noqa: E402
from lab.dovecot import UID  # noqa: E402

SIZE = 96 << 20


def limited_disk(node):
    """An ext4 that counts what each user has, at the store's place; a skip where the kernel cannot."""
    done = disk.ext4_at(node.store, os.path.join(node.dir, "quota.image"), SIZE,
                        "-O", "quota", "-E", "quotatype=usrquota", check=False)
    if done.returncode != 0:
        raise util.Skip("no ext4 with quotas on this kernel: %s" % done.stderr.strip().split("\n")[0])
    os.chown(node.store, UID, UID)


def limit(node, blocks):
    util.run(["setquota", "-u", str(UID), "0", str(blocks), "0", "0", node.store])


def test(t):
    t.needs_mailfs()
    t.forgive(r"Disk quota exceeded|Resource temporarily unavailable|No space left")
    limited_disk(t.a)
    util.parallel(t.a.start, t.b.start)
    t.pair.wait_in_sync()
    user = t.pair.user("quota")
    t.a.deliver(user, mail.message("before"))
    since = os.path.getsize(t.a.postfix.log)
    limit(t.a, 64)
    texts = [mail.message("too much", size=400000) for _ in range(2)]
    for text in texts:
        t.a.smtp(user + "@lab.test", text)
    t.a.postfix.wait_deferred(since)
    limit(t.a, 0)
    t.a.postfix.postfix("flush")
    t.a.postfix.wait_delivered(30)
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), [mail.message_id(text) for text in texts])
    bounced = [line for line in t.a.postfix.said(since) if "bounced" in line]
    t.check(not bounced, "bounced: %s", bounced[:1])


case.main(test, own=True, start=False)
