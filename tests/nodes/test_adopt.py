#!/usr/bin/env python3
"""A Maildir tree that Dovecot made without us becomes a store, seeds the other node, and leaves."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402

USERS = ("anna", "bert")
SCRIPT = 'require "fileinto";\nif header :contains "Subject" "[list]" { fileinto "Lists"; }\n'


def fill(node, user):
    """What a user has after some years, in small."""
    with node.imap(user) as client:
        client.select()
        for folder in ("Sent", "Lists", "Work", "Work.2024", "Work.2024.May"):
            client.create(folder)
            client.subscribe(folder)
        client.subscribe("Lists", on=False)
        for n in range(8):
            client.append("INBOX", mail.message("nr %d" % n, size=200 * n), "\\Flagged" if n % 3 else "",
                          "01-Feb-2020 10:00:00 +0000")
        client.select()
        client.store("2:5", "+FLAGS", "\\Seen $Forwarded Important")
        client.copy("3:4", "Work.2024.May")
        client.move("5", "Sent")
        client.store("2", "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()
    os.mkdir(node.home(user, "sieve"))
    with open(node.home(user, "sieve", "one.sieve"), "w") as f:
        f.write(SCRIPT)
    os.symlink("sieve/one.sieve", node.home(user, ".dovecot.sieve"))
    for path in ("sieve", "sieve/one.sieve", ".dovecot.sieve"):
        os.lchown(node.home(user, path), 5000, 5000)
    node.deliver(user, mail.message("[list] sorted by sieve"))
    node.deliver(user, mail.message("not seen yet"))


def files(top):
    """All that can be seen of a tree without reading mail."""
    seen = {}
    for where, dirs, names in os.walk(top):
        for name in dirs + names:
            path = os.path.join(where, name)
            info = os.lstat(path)
            seen[os.path.relpath(path, top)] = (
                info.st_ino, info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns,
                tuple(os.listxattr(path, follow_symlinks=False)))
    return seen


def same(t, node, before, what):
    for user, view in before.items():
        now = compare.user_view(node, user)
        t.check(now == view, "%s: %s: %s", what, user, compare.view_difference(view, now))


def adopt(t, node, before):
    tree = files(node.mount)
    options = ("--dovecot-config", node.dovecot.conf)
    said = node.mailfs.ctl("adopt", node.mount, "--dry-run", *options).stdout
    t.check("would rename %s to %s" % (node.mount, node.store) in said, "dry run says: %s", said)
    t.equal(files(node.mount), tree, "the tree after a dry run")
    node.mailfs.ctl("adopt", node.mount, *options)
    t.equal(os.listdir(node.mount), [], "the mount point")
    now = files(node.store)
    t.equal({p: v[:5] for p, v in now.items()}, {p: v[:5] for p, v in tree.items()}, "the store")
    t.equal(now["anna/Maildir/.Work"][5], ("user.mailfs.id",), "the id of a mailbox")
    node.start("syncd", "mailfs", "dovecot")
    same(t, node, before, "adopted")


def leave(t, node, before):
    done = node.mailfs.ctl("leave", node.mount, check=False)
    t.check(done.returncode == 1 and "mailfs-syncd has volume" in done.stdout, "leave under way: %s", done)
    node.stop("dovecot", "mailfs", "syncd")
    node.mailfs.ctl("leave", node.mount)
    # the messages' checksums stay: see OPERATIONS, "Moving out"
    left = [p for p, v in files(node.mount).items() if set(v[5]) - {"user.mailfs.sum"} or ".mailfs" in p]
    t.equal(left, [], "what is left of mailfs")
    t.equal(os.listdir(node.store), [], "the store's place")
    node.dovecot.start()
    same(t, node, before, "left")


def same_name(t):
    """b says that it is called as a is: both say what is wrong, and nothing is exchanged."""
    with open(t.b.mailfs.conf) as f:
        right = f.read()
    with open(t.b.mailfs.conf, "w") as f:
        f.write(right.replace(t.b.host, t.a.host, 1).replace('peer "%s"' % t.a.host, 'peer "other"'))
    t.b.start("syncd")
    util.poll(lambda: "a says that both have one name: %s" % t.a.status(),
              lambda: "both nodes are called" in ((t.a.status() or {}).get("last_error") or ""))
    t.b.stop("syncd")
    t.equal([n for n in os.listdir(t.b.store) if n != ".mailfs"], [], "what b has got")
    with open(t.b.mailfs.conf, "w") as f:
        f.write(right)


def test(t):
    t.needs_mailfs()
    os.chown(t.a.mount, 5000, 5000)
    t.a.dovecot.start()                     # on a plain directory
    for user in USERS:
        fill(t.a, user)
    before = {user: compare.user_view(t.a, user) for user in USERS}
    t.equal(len(before["anna"]["folders"]), 6, "folders")
    done = t.a.mailfs.ctl("leave", check=False)
    t.check(done.returncode == 1 and "this is no store" in done.stdout, "leave of nothing: %s", done)
    t.a.dovecot.stop()
    start = util.now()
    adopt(t, t.a, before)
    same_name(t)
    # the other node, empty
    t.b.start("syncd", "mailfs", "dovecot")
    t.pair.wait_in_sync()
    for user in USERS:
        t.wait_equal(user)
        same(t, t.b, {user: before[user]}, "seeded")
    t.figure("adopted and seeded in %.1f s", util.now() - start)
    # both work with it
    ids = [t.b.deliver("anna", mail.message("[list] at b")), t.a.deliver("anna", mail.message("[list] at a"))]
    compare.assert_has(t.wait_equal("anna"), ids, "Lists")
    before = {user: compare.user_view(t.a, user) for user in USERS}
    leave(t, t.a, before)


case.main(test, own=True, start=False, postfix=False)
