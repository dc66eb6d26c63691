#!/usr/bin/env python3
"""A pair with a standby: it has what either did, also when one dies, or both and it takes over."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


def differences(t, node, user):
    a, c = compare.tree_view(node, user), compare.tree_view(t.pair.c, user)
    return {k: (a.get(k), c.get(k)) for k in sorted(set(a) | set(c)) if a.get(k) != c.get(k)}


def wait_same(t, node, user):
    util.poll(lambda: "%s on %s and mx-c: %s" % (user, node.host, differences(t, node, user)),
              lambda: not differences(t, node, user), 30)


def act(node, user):
    node.deliver(user, mail.message("on " + node.host))
    with node.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Seen")
        client.store("*", "+FLAGS", "\\Flagged")
        client.logout()


def hears(t, *nodes):
    """The standby has contact with these of the pair, and with no other."""
    c = t.pair.c
    c.deaf(*(n for n in t.pair.nodes if n not in nodes))
    for node in t.pair.nodes:
        c.wait_link(node, "in-sync" if node in nodes else "alone", timeout=20)


def not_brought_back(t, user):
    """What it has from one node, and the pair has undone since, it does not bring to the other."""
    hears(t, t.a)
    for what in ("flagged", "moved", "removed"):
        t.a.deliver(user, mail.message(what))
    with t.a.imap(user, mailbox="INBOX") as client:
        flagged, moved, removed = sorted(client.uids())[-3:]
        client.store("%d:%d" % (flagged, removed), "+FLAGS", "\\Flagged")
        for folder in ("Gone", "Old", "Busy"):
            client.create(folder)
            client.subscribe(folder)
        client.append("Busy", mail.message("in a folder that goes"))
        client.logout()
    for name in ("kept.sieve", "dropped.sieve"):
        with open(t.a.home(user, "Maildir", name), "w") as f:
            f.write("keep;\n")
    wait_same(t, t.a, user)
    t.wait_equal(user)
    hears(t)
    with t.b.imap(user, mailbox="INBOX") as client:
        client.store("%d" % flagged, "-FLAGS", "\\Flagged")
        client.copy("%d" % moved, "Sent")
        client.store("%d,%d" % (moved, removed), "+FLAGS", "\\Deleted")
        client.expunge()
        client.subscribe("Gone", on=False)
        client.delete("Gone")
        client.delete("Busy")
        client.rename("Old", "New")
        client.logout()
    os.unlink(t.b.home(user, "Maildir", "dropped.sieve"))
    t.wait_equal(user)
    before = compare.tree_view(t.a, user)
    hears(t, t.b)
    t.equal(compare.tree_view(t.a, user), before, "the pair, when the standby has met the other node")
    t.b.deliver(user, mail.message("and it goes on"))
    t.wait_equal(user)
    hears(t, *t.pair.nodes)
    for node in t.pair.nodes:
        wait_same(t, node, user)
    view = t.wait_equal(user)
    t.equal((sorted(view["folders"]), sorted(view["subscribed"])),
            (["INBOX", "New", "Sent"], ["Busy", "Old"]), "folders and subscriptions")


def apart(t):
    t.a.deaf(t.b)
    t.b.deaf(t.a)
    for node in t.pair.nodes:
        node.wait_state("alone", timeout=15)


def together(t, user):
    t.a.deaf()
    t.b.deaf()
    t.pair.wait_in_sync()
    t.wait_equal(user)
    for node in t.pair.nodes:
        wait_same(t, node, user)


def unopened(t, user):
    """A node that is alone takes from the standby a mailbox that nobody opens there meanwhile."""
    hears(t, t.a)
    with t.a.imap(user) as client:
        client.create("Quiet")
        client.append("Quiet", mail.message("in a folder that only mx-a works in"))
        client.logout()
    wait_same(t, t.a, user)
    t.wait_equal(user)
    apart(t)
    hears(t, *t.pair.nodes)
    together(t, user)


def between_two(t, user):
    """While the pair is apart the standby has what either has, and carries nothing from one to the other."""
    with t.a.imap(user) as client:
        client.create("Moved")
        client.append("Moved", mail.message("before"))
        client.logout()
    t.wait_equal(user)
    for node in t.pair.nodes:
        wait_same(t, node, user)
    apart(t)
    sent = {}
    for node in t.pair.nodes:
        act(node, user)
        sent[node] = node.deliver(user, mail.message("apart, on " + node.host))
        with node.imap(user) as client:
            client.create("On-" + node.host)
            client.subscribe("On-" + node.host)
            client.append("On-" + node.host, mail.message("in a folder of " + node.host))
            client.logout()
        with node.imap(user, mailbox="INBOX") as client:
            uids = sorted(client.uids())
            client.store("%d" % uids[2], "+FLAGS", "$" + node.space.letter)
            client.logout()
    for node in t.pair.nodes:
        util.poll("mx-c has what %s has" % node.host, lambda n=node: holds(t.pair.c, user, sent[n]), 20)
        t.pair.wait_path(t.pair.c, user, "Maildir", ".On-" + node.host, "dovecot-uidlist", timeout=20)
        t.pair.c.wait_link(node)
    for node in t.pair.nodes:
        t.equal([os.path.exists(node.stored(user, "Maildir", ".On-" + n.host)) for n in sent],
                [n is node for n in sent], "which of the two folders %s has" % node.host)
        t.equal([holds(node, user, m) for m in sent.values()], [n is node for n in sent],
                "which of the two messages %s has" % node.host)
    removed_elsewhere(t, user)

    def said():                 # what is on its way is not reported
        code, found = verify(t.pair.c)
        t.equal((code, found["list"]), (0, []), "verify while the two are apart")
        return found["not_compared"]
    util.poll("verify to say what it has not compared", said, 20)
    together(t, user)


def removed_elsewhere(t, user):
    """a renames and removes a folder into which b, which is away, has put mail: the standby follows a further."""
    folder = ("Maildir", ".Moved")
    trash = ("Maildir", ".Trash.Moved")
    with t.b.imap(user) as client:
        client.append("Moved", mail.message("from mx-b in a folder that mx-a removes"))
        client.logout()

    def messages(node, *where):
        return [n for sub in ("new", "cur") for n in os.listdir(node.stored(user, *where, sub))]
    util.poll("mx-c has what was put into the folder on mx-b", lambda: messages(t.pair.c, *folder), 20)
    with t.a.imap(user) as client:
        client.rename("Moved", "Trash.Moved")
        t.pair.wait_path(t.pair.c, user, *trash, timeout=20)
        client.delete("Trash.Moved")
        client.logout()
    sent = t.a.deliver(user, mail.message("after the removal"))
    util.poll("mx-c has what mx-a has been sent since", lambda: holds(t.pair.c, user, sent), 20)
    t.check(messages(t.pair.c, *trash), "mx-c has lost what it has from mx-b")


def verify(node, *args):
    done = node.mailfs.ctl("verify", "--json", *args, check=False)
    if not done.stdout:
        raise util.Fail("%s: verify says %s" % (node.host, done.stderr))
    return done.returncode, json.loads(done.stdout)


def repaired(t, user):
    """Damage on the standby is mended by whom it follows, and they do not hear of it."""
    c = t.pair.c
    for node in t.pair.nodes:
        c.wait_link(node)
    code, found = verify(c)
    t.equal((code, found["list"], found["not_compared"]), (0, [], 0), "nothing differs, and nothing is on its way")
    before = compare.tree_view(t.a, user)
    path = os.path.join(c.store, user, "Maildir", "dovecot-uidlist")
    with open(path) as f:
        head, first, second, *rest = f.read().splitlines(True)
    with open(path, "w") as f:          # two numbers changed places
        f.write("".join([head, first.split(" ", 1)[0] + " " + second.split(" ", 1)[1],
                         second.split(" ", 1)[0] + " " + first.split(" ", 1)[1]] + rest))
    code, found = verify(c, "--repair")
    fates = [p["fate"] for p in found["list"]]
    t.check(code == 0 and fates and set(fates) == {"repaired"}, "repair: %d, %s", code, found)
    for node in t.pair.nodes:
        t.equal(differences(t, node, user), {}, "mx-c and " + node.host)
    t.equal(compare.tree_view(t.a, user), before, "mx-a")


def holds(node, user, message):
    """Is it on that node's disk?"""
    for sub in ("new", "cur"):
        top = os.path.join(node.store, user, "Maildir", sub)
        for name in os.listdir(top):
            with open(os.path.join(top, name), "rb") as f:
                if message.encode() in f.read():
                    return True
    return False


def test(t):
    t.needs_mailfs()
    c = t.pair.c
    user = t.pair.user("trio", folders=("Sent",))
    t.pair.wait_in_sync()
    for node in (t.a, t.b, t.a):
        act(node, user)
    wait_same(t, t.a, user)
    t.wait_equal(user)
    not_brought_back(t, user)
    unopened(t, user)
    between_two(t, user)
    repaired(t, user)
    # one of the pair dies: the other goes on, and feeds c
    t.a.crash(silent=True)
    t.b.space.drop(False)
    t.b.wait_state("alone")
    c.wait_link(t.a, "alone", timeout=15)
    act(t.b, user)
    wait_same(t, t.b, user)
    t.a.revive()
    t.pair.wait_in_sync()
    act(t.a, user)
    t.wait_equal(user)
    wait_same(t, t.a, user)
    # both of the pair die: c takes over, and they follow it
    before = compare.user_view(t.b, user, bodies=False)
    t.a.crash(silent=False)
    t.b.crash(silent=False)
    for node in t.pair.nodes:
        c.wait_link(node, "alone", timeout=15)
    c.mailfs.ctl("promote")
    act(c, user)
    t.a.revive()
    t.b.revive()
    for node in t.pair.nodes:
        util.poll(node.host + " is a standby", lambda n=node: (n.status() or {}).get("role") == "standby",
                  20)
    t.pair.wait_in_sync()
    for node in t.pair.nodes:
        wait_same(t, node, user)
    now = compare.user_view(c, user, bodies=False)
    for folder, (validity, rows) in before["folders"].items():
        t.equal(now["folders"][folder][0], validity, "UIDVALIDITY of " + folder)
        for uid, row in rows.items():
            t.equal(now["folders"][folder][1][uid][1], row[1], "%s UID %d" % (folder, uid))


case.main(test, own=True, seconds=180, standby=True, timeout=2)
