#!/usr/bin/env python3
"""Expunged messages and deleted mailboxes come back on both nodes, whichever node it was done on;
what is kept goes when its time is over."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def kept(node):
    """{base name without what is added: number of links} of all that is kept."""
    found = {}
    for where, _dirs, names in os.walk(os.path.join(node.store, ".mailfs", "undo")):
        for name in names:
            found[name.split(":")[0]] = os.stat(os.path.join(where, name)).st_nlink
    return found


def undelete(node, *args, check=True):
    return node.mailfs.ctl("undelete", *args, check=check)


def expunge(t, user):
    """Some on a, some on b; MOVE and a flag besides. Returns {Message-ID: flags} of what went."""
    with t.a.imap(user) as client:
        client.select()
        for n in range(6):
            client.append("INBOX", mail.message("nr %d" % n), "", "01-Feb-2020 10:00:00 +0000")
        client.select()
        client.store("1:3", "+FLAGS", "\\Seen $Forwarded")
        client.store("2", "+FLAGS", "\\Flagged")
        client.move("6", "Work")
        before = client.fetch("1:5", "(UID FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        client.store("1:2", "+FLAGS", "\\Deleted")
        client.expunge()
    t.wait_equal(user)
    with t.b.imap(user, mailbox="INBOX") as client:
        client.store("3", "+FLAGS", "\\Deleted")
        client.expunge()
    return {compare.imap.header_id(before[u][compare.HEAD]):
            (before[u]["FLAGS"], before[u]["INTERNALDATE"]) for u in (1, 2, 3)}


def restored(client):
    got = client.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    return {uid: (compare.imap.header_id(v[compare.HEAD]), v["FLAGS"] - {"\\Deleted"}, v["INTERNALDATE"])
            for uid, v in got.items()}


def messages(t, user):
    gone = expunge(t, user)
    view = t.wait_equal(user)
    t.equal(len(view["folders"]["INBOX"][1]), 2, "messages left")
    # three that were expunged and the one that was moved, on both nodes
    for node in t.pair.nodes:
        util.poll(lambda n=node: "%s keeps %s" % (n.host, kept(n)), lambda n=node: len(kept(n)) == 4)
    inbox = "%s/Maildir" % user
    said = undelete(t.b, "--list", inbox).stdout
    t.check(inbox + ": 4 messages" in said and "nr 1" in said and
            said.count("also in another mailbox") == 1, "list: %s", said)
    said = undelete(t.a, t.a.home(user, "Maildir")).stdout
    t.check("3 messages put back" in said and "1 message was left out" in said, "undelete: %s", said)
    view = t.wait_equal(user)
    t.equal(len(view["folders"]["INBOX"][1]), 5, "messages after undelete")
    t.equal(len(view["folders"]["Work"][1]), 1, "messages in Work")
    for node in t.pair.nodes:
        with node.imap(user, mailbox="INBOX") as client:
            now = restored(client)
        came = {m: (f - {"\\Deleted"}, d) for u, (m, f, d) in now.items() if u > 6}
        t.equal(came, {m: (f, d) for m, (f, d) in gone.items()}, "%s: what came back" % node.host)
    # once more, on the node that still keeps them: nothing twice
    said = undelete(t.b, inbox).stdout
    t.check("0 messages put back" in said and "3 messages had been put back" in said, "again: %s", said)
    t.equal(len(t.wait_equal(user)["folders"]["INBOX"][1]), 5, "messages after the second time")
    done = undelete(t.a, "nobody/Maildir", check=False)
    t.check(done.returncode == 1 and "nothing is kept" in done.stderr, "of nobody: %s", done)


def mailboxes(t, user):
    """A folder deleted on b, and a whole user removed through the mount on a."""
    with t.a.imap(user) as client:
        for n in range(3):
            client.append("Work", mail.message("work %d" % n), "\\Seen")
        client.append("Sent", mail.message("sent"))
    before = t.wait_equal(user)
    with t.b.imap(user) as client:
        client.delete("Work")
    after = t.wait_equal(user)
    t.check("Work" not in after["folders"], "Work is there still")
    said = undelete(t.b, "--list").stdout
    t.check("%s/Maildir/.Work (deleted): 4 messages" % user in said, "list: %s", said)
    undelete(t.b, "--all", "%s/Maildir/.Work" % user)
    view = t.wait_equal(user)
    for what in (1, 3):     # Message-ID, internal date; keywords and UIDs are new
        t.equal(sorted(r[what] for r in view["folders"]["Work"][1].values()),
                sorted(r[what] for r in before["folders"]["Work"][1].values()), "Work")
    t.a.run("rm", "-rf", t.a.home(user))
    t.pair.wait_path(t.b, user, there=False)
    undelete(t.a, "--recursive", "--all", "--since", "1h", user)
    view = t.wait_equal(user)
    have = {f: len(view["folders"][f][1]) for f in ("INBOX", "Work", "Sent")}
    t.check(have["INBOX"] >= 5 and have["Work"] >= 4 and have["Sent"] == 1, "rm -rf undone: %s", have)


def keeps_for(t, keep):
    t.a.stop("dovecot", "mailfs", "syncd")
    t.a.mailfs.keep = keep
    t.pair.configure()
    t.a.start("syncd", "mailfs", "dovecot")
    t.pair.wait_in_sync()


def expunge_all(t, user):
    t.a.deliver(user, mail.message())
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    t.wait_equal(user)


def expires(t, user):
    """With keep = 0, on a alone: nothing is kept, and what was kept before goes. With 2s: for a while."""
    expunge_all(t, user)
    t.check(kept(t.a), "a keeps nothing, before")
    keeps_for(t, "0")
    util.poll(lambda: "a still keeps %s" % kept(t.a), lambda: not kept(t.a), 15)
    expunge_all(t, user)
    t.equal(kept(t.a), {}, "kept with keep = 0")
    said = undelete(t.a, "--list", "%s/Maildir" % user)
    t.check("nothing is kept" in said.stderr, "list of nothing: %s", said)
    keeps_for(t, "2s")
    expunge_all(t, user)
    util.poll(lambda: "a still keeps %s" % kept(t.a), lambda: not kept(t.a), 15)
    util.poll(lambda: "status of a: %s" % t.a.status(),
              lambda: ((t.a.status() or {}).get("expunged") or {}).get("messages") == 0)


def test(t):
    t.needs_mailfs()
    # a mailbox of a name that was deleted is a new one to the index of the node that did not delete it
    t.forgive("UIDVALIDITY changed")
    user = t.pair.user("undo", ("Work", "Sent"))
    messages(t, user)
    mailboxes(t, user)
    expires(t, user)


case.main(test, own=True, postfix=False)
