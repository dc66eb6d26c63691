#!/usr/bin/env python3
"""A file system's quota of the mail's owner is used up on a node: mail is deferred, never bounced, and comes later."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402
from lab.dovecot import UID  # noqa: E402

SIZE = 96 << 20


def limited_disk(node):
    """An ext4 that counts what each user has, at the store's place; a skip where the kernel cannot."""
    image = os.path.join(node.dir, "quota.image")
    with open(image, "wb") as f:
        f.truncate(SIZE)
    util.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "quota", "-E", "quotatype=usrquota", image])
    done = util.run(["mount", "-o", "loop", image, node.store], check=False)
    if done.returncode != 0:
        raise util.Skip("no ext4 with quotas on this kernel: %s" % done.stderr.strip().split("\n")[0])
    os.rmdir(os.path.join(node.store, "lost+found"))
    os.chown(node.store, UID, UID)


def limit(node, blocks):
    try:
        done = util.run(["setquota", "-u", str(UID), "0", str(blocks), "0", "0", node.store], check=False)
    except OSError:
        raise util.Skip("no setquota (package quota)") from None
    if done.returncode != 0:
        raise util.Skip("setquota: %s" % done.stderr.strip())


def said(node, since):
    with open(node.postfix.log) as f:
        f.seek(since)
        return [line for line in f if "status=" in line]


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
    util.poll(lambda: "deferred: %s" % said(t.a, since)[-3:],
              lambda: any("status=deferred" in line for line in said(t.a, since)), 20)
    limit(t.a, 0)
    t.a.postfix.postfix("flush")
    t.a.postfix.wait_delivered(30)
    t.pair.wait_in_sync()
    compare.assert_has(t.wait_equal(user), [mail.message_id(text) for text in texts])
    bounced = [line for line in said(t.a, since) if "bounced" in line]
    t.check(not bounced, "bounced: %s", bounced[:1])


case.main(test, own=True, start=False)
