#!/usr/bin/env python3
"""What mailfsctl adopt and leave refuse: trees that are none, a full disk, a step that fails midway."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mailfs, rundir, util  # noqa: E402

CONF = 'node = "mx-a"\nvolume "mail" {\n  store = "%s/store"\n  mount = "%s/mail"\n  state = "%s/state"\n%s}\n'
OLD = time.time() - 3600


class Tree:
    """A directory with a configuration beside it."""

    def __init__(self, top, name, extra=""):
        self.top = os.path.join(top, name)
        self.mail = os.path.join(self.top, "mail")
        self.store = os.path.join(self.top, "store")
        os.makedirs(self.mail)
        self.conf = os.path.join(self.top, "conf")
        with open(self.conf, "w") as f:
            f.write(CONF % (self.top, self.top, self.top, extra))
        self.dovecot = None

    def put(self, path, content="From: x\n\nhello\n"):
        path = os.path.join(self.mail, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(content)
        os.utime(path, (OLD, OLD))
        return path

    def mailbox(self, path, *messages):
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.mail, path, part), exist_ok=True)
        for name in messages:
            self.put(os.path.join(path, name))
        lines = ["3 V1700000000 N9 G0123456789abcdef0123456789abcdef\n"]
        lines += ["%d :%s\n" % (n + 1, os.path.basename(m).split(":")[0]) for n, m in enumerate(messages)]
        self.put(os.path.join(path, "dovecot-uidlist"), "".join(lines))

    def run(self, *args):
        return util.run([mailfs.program("mailfsctl"), "-c", self.conf, *args], check=False)

    def adopt(self, *args):
        """(exit code, {kind: first path}, all of the answer) of a dry run."""
        done = self.run("adopt", self.mail, "--dry-run", "--json", *args)
        answer = json.loads(done.stdout)
        return done.returncode, {p["kind"]: p["found"][0]["path"] or p["found"][0]["text"]
                                 for p in answer["problems"]}, answer


def refused(t, tree, kind, path, *args):
    code, kinds, _answer = tree.adopt(*args)
    t.check(code == 1 and kind in kinds, "%s: exit %d, found %s", kind, code, kinds)
    t.check(kinds[kind].startswith(path), "%s is said of %s", kind, kinds[kind])


def warned(t, tree, kind, path):
    code, kinds, _answer = tree.adopt()
    t.check(code == 0 and kinds.get(kind, "").startswith(path), "%s: exit %d, found %s", kind, code, kinds)


def good(top, name, **kwargs):
    tree = Tree(top, name, **kwargs)
    tree.mailbox("anna", "cur/1.M1P1.host,S=15:2,S", "new/2.M2P1.host")
    tree.mailbox("anna/.Sent", "cur/3.M3P1.host:2,RSa")
    return tree


def names(t, top):
    tree = good(top, "names")
    code, kinds, answer = tree.adopt()
    t.check(code == 0 and not [k for k in kinds if not k.startswith("dovecot")], "a good one: %s", kinds)
    t.equal([answer["counts"][k] for k in ("mailboxes", "messages", "without_ids")], [2, 3, 2], "counts")
    warned(t, tree, "wrong-size", os.path.relpath(
        tree.put("anna/cur/5.M5P1.host,S=99:2,"), tree.mail))
    os.symlink("/somewhere", os.path.join(tree.mail, "anna/.dovecot.sieve"))
    warned(t, tree, "link-outside", "anna/.dovecot.sieve")
    os.mkfifo(os.path.join(tree.mail, "anna/pipe"))
    warned(t, tree, "special-file", "anna/pipe")
    os.chmod(tree.put("anna/cur/6.M6P1.host:2,"), 0)
    warned(t, tree, "owner", "anna/cur/6.M6P1.host")
    # from here on nothing is adopted
    tree.put("anna/cur/7\n.host:2,")
    refused(t, tree, "message-name", "anna/cur/7?.host")
    tree.put("anna/new/1.M1P1.host,S=15")
    refused(t, tree, "duplicate-name", "anna/cur/1.M1P1.host")
    os.symlink("../new/2.M2P1.host", os.path.join(tree.mail, "anna/cur/8.host:2,"))
    refused(t, tree, "link-message", "anna/cur/8.host")
    os.symlink("anna", os.path.join(tree.mail, "alias"))
    refused(t, tree, "link-to-directory", "alias")
    tree.mailbox("tmp", "cur/9.host:2,")        # a user of that name
    refused(t, tree, "directory-in-part", "tmp/cur")
    tree.mailbox("anna/.a.lock", "cur/9.host:2,")
    refused(t, tree, "local-name", "anna/.a.lock")
    tree.put("anna/.Sent/dovecot-uidlist", "3 V1700000000 N9\n2 :a\n1 :b\n")
    refused(t, tree, "uidlist-broken", "anna/.Sent/dovecot-uidlist")
    os.utime(tree.put("anna/tmp/10.host"))
    refused(t, tree, "delivery", "anna/tmp/10.host")
    os.utime(tree.put("anna/dovecot-uidlist.lock", "1:host"))
    refused(t, tree, "lock-fresh", "anna/dovecot-uidlist.lock")
    os.makedirs(os.path.join(tree.mail, "anna/.mailfs"))
    refused(t, tree, "nested-store", "anna/.mailfs")


def places(t, top):
    tree = Tree(top, "none")
    tree.put("notes/readme", "no mail")
    refused(t, tree, "no-maildir", tree.mail)
    t.equal(tree.run("adopt", tree.top + "/nothing").returncode, 1, "a directory that is not there")
    t.equal(tree.run("adopt", tree.conf).returncode, 1, "a file")
    t.equal(tree.run("adopt").returncode, 2, "no directory")
    t.equal(tree.run("status", "--dry-run").returncode, 2, "an option of another command")
    tree = good(top, "taken")
    os.makedirs(os.path.join(tree.store, "something"))
    refused(t, tree, "taken", tree.store)
    with subprocess.Popen(["sleep", "60"], cwd=tree.mail + "/anna") as child:
        try:
            refused(t, tree, "in-use", tree.mail + "/anna")
        finally:
            child.kill()
    for name in ("anna", "anna/.Sent"):
        os.unlink(os.path.join(tree.mail, name, "dovecot-uidlist"))
    refused(t, tree, "uidlists-elsewhere", tree.mail)
    tree = good(top, "twice", extra='  listen = "*:7400"\n  peer "mx-a" { address = "h:1" }\n')
    t.equal(tree.run("adopt", tree.mail).returncode, 2, "a peer of this node's name")


def links(t, top):
    """The store behind a symbolic link is the same place, and whoever uses it is seen."""
    tree = good(top, "links")
    os.makedirs(os.path.join(tree.top, "disk"))
    os.symlink(os.path.join(tree.top, "disk", "mail"), tree.store)
    os.rename(tree.mail, os.path.join(tree.top, "disk", "mail"))
    os.mkdir(tree.mail)
    t.equal(tree.run("adopt", tree.store).returncode, 0, "adopt of a store behind a link")
    os.mkdir(os.path.join(tree.store, ".mailfs"))
    with subprocess.Popen(["sleep", "60"], cwd=tree.store + "/anna") as child:
        try:
            done = tree.run("leave")
        finally:
            child.kill()
    t.check(done.returncode == 1 and "pid %d" % child.pid in done.stdout, "leave of one in use: %s", done)
    util.run(["chattr", "+i", tree.mail])
    done = tree.run("leave", tree.mail)
    util.run(["chattr", "-i", tree.mail])
    t.check(done.returncode == 1 and "chattr -i" in done.stdout, "leave to a guarded mount point: %s", done)
    t.check(os.path.isdir(tree.store + "/.mailfs"), "it left all the same")


def dovecot_settings(t, top):
    if not os.access("/usr/bin/doveconf", os.X_OK):
        return
    tree = good(top, "settings")
    conf = os.path.join(tree.top, "dovecot.conf")
    old = util.run(["dovecot", "--version"]).stdout.startswith("2.3")
    with open(conf, "w") as f:
        f.write("mail_location = maildir:%s/%%n:CONTROL=/var/control/%%n\nmail_fsync = never\n" % tree.mail
                if old else "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
                "mail_driver = maildir\nmail_path = %s/%%{user}\nmail_control_path = /var/control/%%{user}\n"
                "mail_fsync = never\n" % tree.mail)
    refused(t, tree, "dovecot-control", "", "--dovecot-config", conf)
    t.check("dovecot-setting" in tree.adopt("--dovecot-config", conf)[1], "mail_fsync = never")


def disk(t, top):
    """A file system of its own: full, then with a directory that cannot be written."""
    where = os.path.join(top, "disk")
    os.mkdir(where)
    with open(os.path.join(top, "image"), "wb") as f:
        f.truncate(40 << 20)
    util.run(["mkfs.ext4", "-q", "-F", "-m", "0", os.path.join(top, "image")])
    util.run(["mount", "-o", "loop", os.path.join(top, "image"), where])
    tree = good(where, "full")
    ballast = os.path.join(where, "ballast")
    with open(ballast, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 65536)
        except OSError:
            pass
    refused(t, tree, "no-room", tree.mail)
    done = tree.run("adopt", tree.mail)
    t.check(done.returncode == 1 and os.path.isdir(tree.mail + "/anna/cur"), "adopt on a full disk: %s", done)
    os.unlink(ballast)
    util.run(["chattr", "+i", tree.mail + "/anna/.Sent"])
    done = tree.run("adopt", tree.mail)
    t.check(done.returncode == 1 and "anna/.Sent" in done.stderr and "nothing was moved" in done.stderr,
            "a step that fails midway: %s", done)
    t.check(os.path.isdir(tree.mail + "/anna/cur"), "it was moved all the same")
    util.run(["chattr", "-i", tree.mail + "/anna/.Sent"])
    tree.put("anna/dovecot-uidlist.lock", "1:host")
    done = tree.run("adopt", tree.mail)
    t.equal(done.returncode, 0, "adopt after that: " + done.stderr)
    t.equal(os.listdir(tree.mail), [], "the mount point")
    t.check(not os.path.exists(tree.store + "/anna/dovecot-uidlist.lock"), "the lock is there still")
    t.equal(sorted(os.listdir(tree.store + "/anna/cur")), ["1.M1P1.host,S=15:2,S"], "the mail")
    # a copied id gets a new one; the tree is where it is to be now
    util.run(["cp", "-a", tree.store + "/anna", tree.store + "/copy"])
    t.equal(tree.run("adopt", tree.store).returncode, 0, "adopt of the store itself")
    ids = {os.getxattr(os.path.join(tree.store, p), "user.mailfs.id")
           for p in ("anna", "anna/.Sent", "copy", "copy/.Sent")}
    t.equal(len(ids), 4, "different ids")
    leave(t, tree)


def leave(t, tree):
    own = os.path.join(tree.store, ".mailfs")
    for part in ("stage", "kept", "trash"):
        os.makedirs(os.path.join(own, part))
    os.makedirs(os.path.join(own, "links", "mx-c", "stage"))
    for part, name, kind in (("stage", "p-1-2-3-x", "staged"), ("kept", "l-1-mail", "kept"),
                             ("links/mx-c/stage", "f-1-2", "staged"),
                             ("trash", "move-1", "moving")):
        path = os.path.join(own, part, name)
        open(path, "w").close()
        done = tree.run("leave", tree.mail)
        t.check(done.returncode == 1 and path in done.stdout, "%s: %s", kind, done)
        os.unlink(path)
    open(os.path.join(own, "stage", "t-1"), "w").close()
    t.equal(tree.run("leave", tree.top + "/conf").returncode, 1, "leave over a file")
    t.equal(tree.run("leave", tree.mail).returncode, 0, "leave")
    t.check(os.path.isdir(tree.mail + "/anna/.Sent/cur"), "no mail at %s", tree.mail)
    t.equal(os.listxattr(tree.mail + "/anna"), [], "the ids")


def test(t):
    t.needs_mailfs()
    top = rundir.create()
    try:
        names(t, top)
        places(t, top)
        links(t, top)
        dovecot_settings(t, top)
        disk(t, top)
    finally:
        for error in rundir.destroy(top):
            print("    tear-down: " + error)


case.main(test, own="none")
