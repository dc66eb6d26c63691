#!/usr/bin/env python3
"""access = "private": mailfs mounts without the kernel's permission checks only where one user gets to the
mount, and keeps out whoever gets there all the same; with fewer requests than where the kernel checks."""

import contextlib
import errno
import os
import re
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, compare, mail, util  # noqa: E402
from lab.dovecot import GID, UID  # noqa: E402

OTHER = 4321        # a user who has no business there
N = 40


def errno_of(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0


def as_user(uid, act):
    """errno of act() in a process of that user's, who has what is open here."""
    def child():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return errno_of(act)
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(child())
        except BaseException:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- what is refused --------------------------------------------------------------------------------


def no_acl_but(uid):
    """posix_acl_access, version 2: tag, permissions, id of each entry; the mask lets nobody in."""
    entries = [(0x01, 7, -1), (0x02, 5, uid), (0x04, 0, -1), (0x10, 0, -1), (0x20, 0, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries)


@contextlib.contextmanager
def shared_mount(above, mount, other):
    """The mount point bind-mounted elsewhere, where what is mounted on it will show up."""
    os.makedirs(other, exist_ok=True)
    util.run(["mount", "--bind", above, above])
    try:
        util.run(["mount", "--make-shared", above])
        util.run(["mount", "--bind", mount, other])
        try:
            yield
        finally:
            util.run(["umount", "-l", other])
    finally:
        util.run(["umount", "-l", above])


def refuses(t, node, says, check=True):
    """mailfs does not start there, and says why; so does check-config."""
    start = os.path.getsize(node.log("mailfs"))
    node.mailfs.mountd.start()
    util.poll(node.host + ": mailfs ends", lambda: util.reap_children() or not node.mailfs.mountd.running())
    said = " ".join(util.tail(node.log("mailfs"), start))
    t.check(says in said and "access = " in said, "mailfs should say %r: %s", says, said)
    t.check(not node.mailfs.mounted(), "it is mounted all the same")
    if check:
        done = node.mailfs.ctl("check-config", check=False)
        t.check(done.returncode == 2 and says in done.stderr, "check-config should say %r: %s", says, done.stderr)


def refused_cases(t, node):
    above = os.path.dirname(node.mount)
    os.chmod(above, 0o755)
    refuses(t, node, "has mode 0755")
    os.chmod(above, 0o710)
    refuses(t, node, "has mode 0710")
    node.mailfs.close()
    os.setxattr(above, "system.posix_acl_access", no_acl_but(OTHER))
    refuses(t, node, "has an access control list")
    os.removexattr(above, "system.posix_acl_access")
    node.mailfs.close()
    os.chown(above, OTHER, OTHER)
    refuses(t, node, "belongs to uid %d" % UID)
    os.chown(above, 0, 0)
    os.chown(node.store, 0, 0)
    refuses(t, node, "belong to root")
    os.chown(node.store, UID, GID)
    os.chown(above, UID, GID)
    other = os.path.join(node.dir, "elsewhere")
    with shared_mount(above, node.mount, other):
        refuses(t, node, "shows up at " + other, check=False)


# --- who gets in ------------------------------------------------------------------------------------


def keeps_others_out(t, node, user):
    """By the path, and by a directory that was handed over."""
    home = node.home(user)
    t.equal(as_user(OTHER, lambda: os.stat(home)), errno.EACCES, "another user on his way to the mount")
    fd = os.open(os.path.join(home, "Maildir"), os.O_RDONLY | os.O_DIRECTORY)
    acts = {"list": lambda: os.close(os.open("cur", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)),
            "read": lambda: os.close(os.open("dovecot-uidlist", os.O_RDONLY, dir_fd=fd)),
            "make": lambda: os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)),
            "remove": lambda: os.unlink("dovecot-uidlist", dir_fd=fd),
            "rename": lambda: os.rename("dovecot-uidlist", "y", src_dir_fd=fd, dst_dir_fd=fd),
            "go there": lambda: os.fchdir(fd)}
    try:
        for name, act in acts.items():
            t.equal(as_user(OTHER, act), errno.EACCES, "another user who has a directory there: " + name)
    finally:
        os.close(fd)


def gives_nothing_away(t, node, user):
    """The user of the mail may not do what he may not do elsewhere."""
    path, roots = node.home(user, "Maildir", "script"), node.stored(user, "root's")
    with open(path, "w") as f:
        f.write("#!/bin/sh\n")
    os.chown(path, UID, GID)
    with open(roots, "w") as f:
        f.write("secret\n")
    os.chmod(roots, 0o600)
    t.equal(as_user(UID, lambda: os.chown(path, 0, 0)), errno.EPERM, "giving a file to root")
    t.equal(as_user(UID, lambda: os.close(os.open(node.home(user, "root's"), os.O_RDONLY))), errno.EACCES,
            "reading root's file")
    t.equal(as_user(UID, lambda: os.chmod(node.home(user, "root's"), 0o666)), errno.EPERM,
            "chmod of root's file")
    t.equal(as_user(UID, lambda: os.chmod(path, 0o400)), 0, "chmod of his own")
    box = node.home(user, "root's.box")
    os.mkdir(box, 0o755)
    t.equal(as_user(UID, lambda: os.rename(box, node.home(user, "Maildir", "root's.box"))), errno.EACCES,
            "moving root's directory into another one")
    os.rmdir(box)
    os.unlink(roots)
    os.unlink(path)


# --- what it buys -----------------------------------------------------------------------------------


def requests(node):
    """{kind: number} so far."""
    start = os.path.getsize(node.log("mailfs"))
    node.daemon("mailfs").kill(signal.SIGUSR1, wait=False)
    line = util.poll("%s: mailfs logs its requests" % node.host, lambda: next(
        (x for x in util.tail(node.log("mailfs"), start) if "requests:" in x), None))
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line) if k not in ("inodes", "forget")}


def cost(node, act):
    """Requests for each of N acts, by kind."""
    before = requests(node)
    for i in range(N):
        act(i)
    after = requests(node)
    return {k: (after[k] - before.get(k, 0)) / N for k in after}


def deliver(node, user):
    box = node.home(user, "Maildir")

    def one(i):
        name = "1700000000.M%dP1.x" % i
        fd = os.open(os.path.join(box, "tmp", name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(fd, b"Subject: x\n\nx\n")
        os.fsync(fd)
        os.close(fd)
        os.rename(os.path.join(box, "tmp", name), os.path.join(box, "new", name))
    return one


def by_mail_user(act):
    def run(i):
        os.seteuid(UID)
        try:
            act(i)
        finally:
            os.seteuid(0)
    return run


def flag(node, user):
    new = os.path.join(node.home(user, "Maildir"), "new", "1700000000.M%dP1.x")
    return lambda i: os.rename(new % i, (new + ":2,F") % i)


def lock(node, user):
    """As Dovecot does it."""
    path = os.path.join(node.home(user, "Maildir"), "dovecot-uidlist.lock")

    def one(_):
        os.path.lexists(path)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(fd, b"%d:%s" % (os.getpid(), node.host.encode()))
        os.close(fd)
        os.lstat(path)
        os.lstat(path)
        os.unlink(path)
    return one


def costs_less(t, node, user):
    by_mail_user(deliver(node, user))(N)        # the names on the way are known then
    delivery = cost(node, by_mail_user(deliver(node, user)))
    flags = cost(node, by_mail_user(flag(node, user)))
    locks = cost(node, by_mail_user(lock(node, user)))
    t.check(locks["lookup"] < 2.3, "a lock is looked up more than twice, before it is there: %s", locks)
    t.figure("requests: delivery %.1f, flag %.1f", sum(delivery.values()), sum(flags.values()))
    t.check(delivery.get("getattr", 0) < 0.2, "a delivery takes GETATTRs: %s", delivery)
    t.check(sum(delivery.values()) < 7.5, "a delivery takes more than 7 requests: %s", delivery)
    t.check(sum(flags.values()) < 2.3, "a flag takes more than 2 requests: %s", flags)


# ----------------------------------------------------------------------------------------------------


def goes_on_as_it_was(t, node, user):
    """The mount was made without checks: the next worker keeps others out, whatever the file says to it."""
    node.mailfs.access = "checked"
    node.mailfs.write(peer=node.peer)
    start = os.path.getsize(node.log("mailfs"))
    alone.kill_worker(node.mailfs.mountd.running())
    util.poll(node.host + ": another worker", lambda: any(
        "taken over at" in x for x in util.tail(node.log("mailfs"), start)))
    keeps_others_out(t, node, user)
    node.mailfs.access = "private"
    node.mailfs.write(peer=node.peer)


def test(t):
    user = t.pair.user("private")
    for node in t.pair.nodes:
        t.equal((node.status() or {}).get("access"), "private", node.host + ": access, in status")
        t.check("access = private, for uid %d" % UID in node.mailfs.ctl("check-config").stdout,
                "check-config does not say it")
    ids = [(t.a if i % 2 else t.b).deliver(user, mail.message(size=2000)) for i in range(6)]
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1:3", "+FLAGS", "\\Seen")
        client.store("2", "+FLAGS", "\\Deleted")
        client.expunge()
    compare.assert_has(t.wait_equal(user), [ids[i] for i in (0, 2, 3, 4, 5)], exactly=True)
    keeps_others_out(t, t.a, user)
    gives_nothing_away(t, t.a, user)
    costs_less(t, t.a, user)
    goes_on_as_it_was(t, t.a, user)
    t.a.stop("mailfs")
    refused_cases(t, t.a)
    t.a.start("mailfs")
    t.wait_equal(user)


case.main(test, own=True, access="private", postfix=False)
