#!/usr/bin/env python3
"""A standby's store loses a message, a folder, a user, below its mount: it has them again, and its source still has
them. What is removed at the source is removed."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def inside(t, user, *where):
    return os.path.join(t.b.store, user, "Maildir", *where)


def first_name(t, user, folder):
    return inside(t, user, folder, "cur", sorted(os.listdir(inside(t, user, folder, "cur")))[0])


def flag(t, user, mailbox, how="\\Flagged"):
    with t.a.imap(user, mailbox=mailbox) as client:
        client.store("1:*", "+FLAGS", how)
        client.logout()


def fill(t, user):
    for _ in range(3):
        t.a.deliver(user, mail.message())
    with t.a.imap(user) as client:
        for folder in ("Work", "Work.Below", "Old"):
            client.create(folder)
            for _ in range(3):
                client.append(folder, mail.message("in " + folder), "\\Seen")
        client.select()
        client.store("1:*", "+FLAGS", "\\Seen")
        client.logout()
    with open(t.a.home(user, "Maildir", "script.sieve"), "w") as f:
        f.write("keep;\n")
    compare.wait_alike(t.a, t.b, user)


def still_there(t, user, before, what):
    """All that clients saw at the source they see there, and it is on the standby."""
    compare.wait_alike(t.a, t.b, user)
    view = compare.user_view(t.a, user, bodies=False)
    for folder, (validity, rows) in before["folders"].items():
        t.check(folder in view["folders"], "%s: %s is gone at the source", what, folder)
        now_validity, now = view["folders"][folder]
        t.equal(now_validity, validity, "%s: UIDVALIDITY of %s" % (what, folder))
        t.equal({u: r[1] for u, r in now.items() if u in rows}, {u: r[1] for u, r in rows.items()},
                "%s: messages of %s" % (what, folder))


def restart(t):
    """What is marked is looked at by a contact."""
    t.b.stop("syncd")
    t.b.start("syncd")


def messages(t, user, before):
    os.unlink(first_name(t, user, ".Work"))
    os.unlink(inside(t, user, "script.sieve"))
    flag(t, user, "Work")
    t.a.deliver(user, mail.message())
    still_there(t, user, before, "a message is lost")


def gone_on_both(t, user):
    """One that the standby has lost is removed at the source before they meet again."""
    t.b.stop("syncd")
    with t.a.imap(user, mailbox="Old") as client:
        uid = sorted(client.uids())[0]
        os.unlink(first_name(t, user, ".Old"))
        client.store("%d" % uid, "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()
    t.b.start("syncd")
    compare.wait_alike(t.a, t.b, user)
    t.equal(len(os.listdir(inside(t, user, ".Old", "cur"))), 2, "messages in Old")


def folders(t, user, before):
    shutil.rmtree(inside(t, user, ".Work"))
    flag(t, user, "Work", "\\Answered")
    still_there(t, user, before, "a folder is lost")
    shutil.rmtree(inside(t, user, ".Work"))
    t.a.deliver(user, mail.message())       # the directory that it was in has changed
    with t.a.imap(user) as client:
        client.create("New")
        client.logout()
    still_there(t, user, before, "a folder is lost, and another is made")


def everything(t, user, before):
    shutil.rmtree(os.path.join(t.b.store, user))
    t.a.deliver(user, mail.message())
    still_there(t, user, before, "a user is lost")
    t.b.stop("syncd")
    shutil.rmtree(os.path.join(t.b.store, user))
    t.a.deliver(user, mail.message())
    t.b.start("syncd")
    still_there(t, user, before, "a user is lost while nothing ran")


def removed(t, user):
    """At the source, while the standby has lost it, or not."""
    shutil.rmtree(inside(t, user, ".Old"))
    with t.a.imap(user, mailbox="INBOX") as client:
        client.delete("Old")
        client.delete("Work.Below")
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()
    compare.wait_alike(t.a, t.b, user)
    restart(t)
    compare.wait_alike(t.a, t.b, user)
    t.equal(sorted(compare.user_view(t.a, user, bodies=False)["folders"]), ["INBOX", "New", "Work"], "folders")


def test(t):
    t.needs_mailfs()
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    util.parallel(t.a.start, t.b.start)
    user = "careless"
    t.pair.user(user)
    fill(t, user)
    before = compare.user_view(t.a, user, bodies=False)
    messages(t, user, before)
    gone_on_both(t, user)
    before["folders"].pop("Old")
    folders(t, user, before)
    everything(t, user, before)
    removed(t, user)
    for node in t.pair.nodes:
        status = node.status()
        t.check(not status.get("unmerged"), "%s: %s", node.host, status)


case.main(test, own=True, seconds=120, start=False, postfix=False)
