#!/usr/bin/env python3
"""Users removed by rm -rf in the mount: what comes after the threshold stays on the other node and on
a standby, over kills of syncd, beyond the time that expunged mail is kept; the mailbox works on, on
both. Then one comes back, and the other goes."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402

INBOX, WORK = 150, 60
FLOOR = 100  # the brake looks at no less
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


def fill(t, user, inbox=INBOX, work=WORK):
    """Delivered by files, as a script would, and numbered by Dovecot."""
    for folder, n in (("", inbox), (".Work", work)):
        box = t.a.home(user, "Maildir", folder)
        owner = os.stat(box)
        for i in range(n):
            name = "17%08d.M%dP1.%s" % (i, i, t.a.host)
            with open(os.path.join(box, "tmp", name), "wb") as f:
                os.fchown(f.fileno(), owner.st_uid, owner.st_gid)
                f.write(mail.message("%s nr %d" % (folder or "INBOX", i)))
            os.rename(f.name, os.path.join(box, "new", name))
    with t.a.imap(user) as client:
        for folder in ("Work", "INBOX"):
            client.select(folder)
    return t.wait_equal(user)


def count(view):
    return sum(len(view["folders"][f][1]) for f in view["folders"])


def seen_by(node, user):
    return count(compare.user_view(node, user, bodies=False))


def stored(node, user):
    """Messages in a store, also of a node on which nobody logs in."""
    return sum(len(files) for path, _, files in os.walk(node.stored(user))
               if os.path.basename(path) in ("new", "cur"))


def standby_settled(t, c):
    """Both have told it everything, and each what it has from the other: what comes and goes before
    that may come back from it."""
    def settled():
        links = [node.link(c) or {} for node in (t.a, t.b)]
        return all(link.get("state") == "in-sync" and not link.get("lag_seconds") for link in links)
    util.poll("the standby has everything from both", settled, 20)


def on_standby(t, c, user, left):
    """What b has; and more, if a link had not come so far when the brake took hold."""
    util.poll(lambda: "%d of %s on the standby, %d on b" % (stored(c, user), user, left),
              lambda: left <= stored(c, user) <= INBOX + WORK + 3, 15)


def expunge(t, node, user):
    with node.imap(user, mailbox="INBOX") as client:
        client.store("1:5", "+FLAGS", "\\Deleted")
        client.expunge()
    return t.wait_equal(user)


def works_on(t, user):
    """New mail and flags, on both, where much is held."""
    for node in (t.a, t.b):
        node.deliver(user, mail.message("new on " + node.host))
    with t.b.imap(user, mailbox="INBOX") as client:
        client.store("1:3", "+FLAGS", "\\Flagged")
    for node in (t.a, t.b):
        def both(n=node):
            with n.imap(user, mailbox="INBOX") as client:
                text = str(client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
            return all("new on " + m.host in text for m in (t.a, t.b))
        util.poll("new mail of %s on %s" % (user, node.host), both, 15)
    t.pair.wait_in_sync()


def test(t):
    t.needs_mailfs()
    t.forgive("reappeared")
    c = t.pair.c
    for node in (t.a, t.b, c):
        node.mailfs.keep = KEEP
    t.pair.configure()
    for node in t.pair.nodes:
        node.start("syncd", "mailfs", "dovecot")
    c.start("syncd", "mailfs")
    t.pair.wait_in_sync()
    user, gone, other = (t.pair.user(name, ("Work",)) for name in ("brake", "gone", "other"))
    before = fill(t, user)
    fill(t, gone)
    fill(t, other, FLOOR + 10, 0)
    expunge(t, t.b, user)
    tree, gone_tree = user + "/Maildir", gone + "/Maildir"
    total = INBOX + WORK - 5
    util.poll(lambda: "%d of %d of %s on the standby" % (stored(c, user), total, user),
              lambda: stored(c, user) == total, 15)
    standby_settled(t, c)
    t.a.sh("rm -rf %s" % t.a.home(user), check=False)
    t.a.deliver(user, mail.message("at once"))  # makes the mailbox anew
    total += 1
    wait_held(t.a, tree)
    t.pair.wait_in_sync()
    text = t.a.mailfs.ctl("status").stdout
    t.check(tree in text and "the other nodes keep theirs" in text and "confirm --undo" in text, "status: %s", text)
    t.equal(held(t.b), {}, "b, where nothing was removed")
    left = seen_by(t.b, user)
    t.check(left > total - FLOOR, "%d of %d messages are left on b", left, total)
    t.figure("%d of %d stay", left, total)
    expunge(t, t.a, other)  # what anybody does every day,
    with t.a.imap(other, mailbox="INBOX") as client:
        client.move("1:*", "Work")  # and what has not gone
    t.wait_equal(other)
    works_on(t, user)
    t.equal(seen_by(t.b, user), left + 2, "on b, with new mail")
    t.equal(set(held(t.a)), {tree}, "held on a")
    standby_settled(t, c)
    on_standby(t, c, user, left + 2)
    # killed, and another user removed meanwhile; nothing is kept for long any more
    t.a.kill("syncd")
    t.a.sh("rm -rf %s" % t.a.home(gone), check=False)
    for node in (t.a, t.b):
        node.mailfs.keep = SHORT
    t.pair.configure()
    t.a.start("syncd")
    t.b.stop("syncd")
    t.b.start("syncd")
    t.pair.wait_in_sync()
    wait_held(t.a, tree, gone_tree)
    past_its_time(t.a)
    t.equal(seen_by(t.b, user), left + 2, "on b, after a kill of a's syncd")
    t.equal(seen_by(t.b, gone), INBOX + WORK, "on b, of what was removed without syncd")
    t.a.wait_link(c)
    on_standby(t, c, user, left + 2)
    t.equal(stored(c, gone), INBOX + WORK, "on the standby, of what was removed without syncd")
    # it was not meant
    done = t.a.mailfs.ctl("confirm", "--undo", os.path.join(t.a.mount, tree) + "/")  # as a shell completes it
    t.check("messages are back" in done.stdout, "undo: %s", done)
    view = t.wait_equal(user)
    # with those that went by the way just before, if it was within the minute
    t.check(total + 2 <= count(view) <= total + 7, "%d of %d messages came back", count(view), total + 2)
    kept_uids(t, before, view)
    wait_held(t.a, gone_tree)
    # the other was
    done = t.a.mailfs.ctl("confirm", "nobody/Maildir", check=False)
    t.check(done.returncode == 1 and "nothing of that is held" in done.stderr, "of nobody: %s", done)
    t.equal(t.a.mailfs.ctl("confirm", "/elsewhere", check=False).returncode, 2, "of what is not in the mount")
    t.check("1 removal confirmed" in t.a.mailfs.ctl("confirm").stdout, "confirm")
    wait_held(t.a)
    t.equal(count(t.wait_equal(gone)), 0, "what is left of " + gone)
    t.a.wait_link(c)
    t.b.wait_link(c)
    util.poll(lambda: "%d of %s on the standby" % (stored(c, gone), gone), lambda: stored(c, gone) == 0, 15)
    util.poll(lambda: "a keeps %s" % kept(t.a), lambda: kept(t.a).get("messages") == 0, 20)
    for node in (t.a, t.b):
        t.equal(held(node), {}, "held again on " + node.host)


def kept_uids(t, before, view):
    """Of Work, where nobody logged in meanwhile on a."""
    validity, rows = before["folders"]["Work"]
    t.equal(view["folders"]["Work"][0], validity, "UIDVALIDITY of Work")
    same = sum(uid in view["folders"]["Work"][1] for uid in rows)
    t.figure("%d of %d UIDs of Work as before", same, len(rows))


case.main(test, own=True, postfix=False, start=False, standby=True)
