#!/usr/bin/env python3
"""A standby begins with a store that is not empty: a copy of its source's, older by some mail, and what another
volume left there.  Nothing is lost or numbered anew at the source; what the copy has and the source has not comes there."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def copy_store(t):
    """As OPERATIONS says, from the store of a node that serves."""
    for name in os.listdir(t.a.store):
        if name != ".mailfs":
            util.run(["cp", "-a", os.path.join(t.a.store, name), t.b.store])


def fill(t, user):
    for _ in range(4):
        t.a.deliver(user, mail.message())
    with t.a.imap(user) as client:
        for folder in ("Work", "Gone"):
            client.create(folder)
            client.append(folder, mail.message("in " + folder), "\\Seen")
        client.subscribe("Work")
        client.select()
        client.store("1:2", "+FLAGS", "\\Seen $Label")
        client.logout()


def goes_on(t, user):
    """The Message-ID of one that is expunged after the copy was made."""
    t.a.deliver(user, mail.message("after the copy"))
    with t.a.imap(user, mailbox="INBOX") as client:
        uid, gone = sorted(client.ids().items())[1]
        client.store("%d" % uid, "+FLAGS", "\\Deleted")
        client.expunge()
        client.store("1", "+FLAGS", "\\Answered")
        client.store("1", "-FLAGS", "$Label")
        client.rename("Work", "Renamed")
        client.delete("Gone")
        client.logout()
    return uid, gone


def leave(t, user, count):
    """Another volume's, in the place of the same user: its lists are its own."""
    top = os.path.join(t.b.store, user, "Maildir")
    ids = []
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(top, sub))
    with open(os.path.join(top, "dovecot-uidlist"), "w") as f:
        f.write("3 V1500000000 N%d\n" % (count + 1))
        for i in range(count):
            text, name = mail.message("of another volume"), "15000000%02d.M1P1.other" % i
            ids.append(mail.message_id(text))
            with open(os.path.join(top, "cur", name + ":2,S"), "wb") as m:
                m.write(text if isinstance(text, bytes) else text.encode())
            f.write("%d :%s\n" % (i + 1, name))
    uid, gid = (getattr(os.stat(t.a.stored(user)), k) for k in ("st_uid", "st_gid"))
    for path, dirs, files in os.walk(os.path.join(t.b.store, user)):
        os.chmod(path, 0o700)
        for each in [path] + [os.path.join(path, n) for n in files]:
            os.chown(each, uid, gid)
    return ids


def kept(t, view, before, what):
    """What clients saw at the source is there, under the UIDs that it had.  A folder that was renamed after the copy
    was made may have its former name again."""
    for folder, (validity, rows) in before["folders"].items():
        if folder == "Renamed" and folder not in view["folders"]:
            folder = "Work"
        now_validity, now = view["folders"][folder]
        t.equal(now_validity, validity, "%s: UIDVALIDITY of %s" % (what, folder))
        for uid, row in rows.items():
            t.equal(now[uid][1] if uid in now else None, row[1], "%s: %s, UID %d" % (what, folder, uid))


def test(t):
    t.needs_mailfs()
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.a.start()
    copied, other = "copied", "other"
    for user in (copied, other):
        fill(t, user)
    copy_store(t)
    shutil.rmtree(os.path.join(t.b.store, other))
    uid, gone = goes_on(t, copied)
    more = leave(t, other, 3)
    before = {u: compare.user_view(t.a, u, bodies=False) for u in (copied, other)}
    t.b.start()
    for user in (copied, other):
        compare.wait_alike(t.a, t.b, user)
    after = {u: compare.user_view(t.a, u, bodies=False) for u in (copied, other)}
    for user in (copied, other):
        kept(t, after[user], before[user], user)
    rows = after[copied]["folders"]["INBOX"][1]
    t.equal([u for u, r in rows.items() if r[1] == gone and u == uid], [], "the UID of an expunged message, shown again")
    compare.assert_has(after[other], more)
    t.figure("expunged after the copy: %s; folders: %s", "back" if gone in compare.count_ids(after[copied]) else "gone",
             " ".join(sorted(after[copied]["folders"])))


case.main(test, own=True, seconds=90, start=False, postfix=False)
