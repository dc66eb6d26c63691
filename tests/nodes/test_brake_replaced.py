#!/usr/bin/env python3
"""A node is lost while the other one holds removals back: the new node in its place gets what is held, the two are in sync,
and either answer is still to be had."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402

MESSAGES = 150
FLOOR = 100     # the brake looks at no less


def held(node):
    return {h["mailbox"] for h in (node.status() or {}).get("held") or []}


def count(node, user):
    """Messages in its store."""
    return sum(len(files) for path, _, files in os.walk(node.stored(user))
               if os.path.basename(path) in ("new", "cur"))


def fill(t, user):
    """Delivered by files, as a script would, and numbered by Dovecot."""
    box = t.a.home(user, "Maildir")
    owner = os.stat(box)
    for i in range(MESSAGES):
        name = "17%08d.M%dP1.%s" % (i, i, t.a.host)
        with open(os.path.join(box, "tmp", name), "wb") as f:
            os.fchown(f.fileno(), owner.st_uid, owner.st_gid)
            f.write(mail.message("nr %d" % i))
        os.rename(f.name, os.path.join(box, "new", name))
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1:20", "+FLAGS", "\\Flagged")
    t.wait_equal(user)


def test(t):
    t.needs_mailfs()
    t.forgive("reappeared")
    meant, not_meant = t.pair.user("meant"), t.pair.user("not-meant")
    for user in (meant, not_meant):
        fill(t, user)
        t.a.sh("rm -rf %s" % t.a.home(user), check=False)
    trees = {user + "/Maildir" for user in (meant, not_meant)}
    util.poll(lambda: "a holds %s" % t.a.status(), lambda: held(t.a) == trees, 15)
    t.pair.wait_in_sync()
    t.pair.replace_b()
    t.b.start("syncd", "mailfs", "dovecot")
    t.pair.wait_in_sync(timeout=30)
    for user in (meant, not_meant):
        n = count(t.b, user)
        t.check(MESSAGES - FLOOR < n < MESSAGES, "the new node has %d of %s", n, user)
    t.equal(held(t.a), trees, "held")
    t.a.mailfs.ctl("confirm", meant + "/Maildir")
    t.a.mailfs.ctl("confirm", "--undo", not_meant + "/Maildir")
    util.poll("nothing is held", lambda: not held(t.a), 15)
    t.pair.wait_in_sync()
    view = t.wait_equal(not_meant)
    t.equal(len(view["folders"]["INBOX"][1]), MESSAGES, "what is back")
    util.poll("what was meant is gone on both", lambda: not any(count(n, meant) for n in t.pair.nodes), 15)


case.main(test, own=True, postfix=False)
