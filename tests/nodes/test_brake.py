#!/usr/bin/env python3
"""A user removed by rm -rf in the mount: noticed on both nodes, kept beyond its time until somebody
says that it was meant, over a restart; and all of it can be had back."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402

MAILS = 120
KEEP, SHORT = "200s", "2s"


def held(node):
    """{mailbox: removed} of what the brake holds."""
    return {h["mailbox"]: h["removed"] for h in (node.status() or {}).get("held") or []}


def kept(node):
    return ((node.status() or {}).get("expunged") or {})


def wait_held(node, *paths):
    util.poll(lambda: "%s holds %s" % (node.host, node.status()), lambda: set(held(node)) == set(paths), 15)


def past_its_time(node):
    """Undo has cleared away what it may, when nothing is kept for longer than SHORT any more."""
    start = time.time() + 4
    util.poll(lambda: "%s: a pass over what is kept: %s" % (node.host, kept(node)),
              lambda: kept(node).get("counted_at", 0) > start, 20)


def fill(t, user):
    with t.a.imap(user) as client:
        client.select()
        for n in range(MAILS):
            client.append("INBOX" if n % 2 else "Work", mail.message("nr %d" % n), "\\Seen")
    return t.wait_equal(user)


def count(view):
    return sum(len(view["folders"][f][1]) for f in view["folders"])


def some_expunged(t, user):
    """What anybody does every day: nothing is held."""
    with t.b.imap(user, mailbox="INBOX") as client:
        client.store("1:10", "+FLAGS", "\\Deleted")
        client.expunge()
    return t.wait_equal(user)


def test(t):
    t.needs_mailfs()
    t.forgive("UIDVALIDITY changed|reappeared")
    for node in t.pair.nodes:
        node.mailfs.keep = KEEP
    t.pair.configure()
    for node in t.pair.nodes:
        node.start("syncd", "mailfs", "dovecot")
    t.pair.wait_in_sync()
    user, other = t.pair.user("brake", ("Work",)), t.pair.user("other", ("Work",))
    before = fill(t, user)
    some_expunged(t, user)
    fill(t, other)
    tree = user + "/Maildir"
    t.a.run("rm", "-rf", t.a.home(user))
    t.pair.wait_path(t.b, user, there=False)
    for node in t.pair.nodes:
        wait_held(node, tree, ".")
        text = node.mailfs.ctl("status").stdout
        t.check(tree in text and "removed within an hour" in text, "status: %s", text)
    t.b.stop("syncd")
    t.b.mailfs.keep = SHORT
    t.pair.configure()
    t.b.start("syncd")
    wait_held(t.b, tree, ".")
    past_its_time(t.b)
    t.check(kept(t.b)["messages"] >= MAILS - 10, "b keeps %s", kept(t.b))
    t.pair.wait_in_sync()
    # it was not meant
    t.a.mailfs.ctl("undelete", "--recursive", "--all", "--since", "1h", user)
    view = t.wait_equal(user)
    t.check(count(view) >= count(before) - 10, "%d messages came back of %d", count(view), count(before))
    wait_held(t.a)
    # on b it is still asked; now it was
    done = t.b.mailfs.ctl("confirm", "nobody/Maildir", check=False)
    t.check(done.returncode == 1 and "nothing of that is held" in done.stderr, "of nobody: %s", done)
    t.check("2 removals confirmed" in t.b.mailfs.ctl("confirm").stdout, "confirm")
    wait_held(t.b)
    util.poll(lambda: "b keeps %s" % kept(t.b), lambda: kept(t.b).get("messages") == 0, 20)
    t.equal(held(t.b), {}, "held again")


case.main(test, own=True, postfix=False, start=False)
