#!/usr/bin/env python3
"""mailfs's worker is killed after it carried out a request and before it answered: the caller sees
what it would have seen of a request carried out once."""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, util  # noqa: E402

LOCK = "box/dovecot-uidlist.lock"


def write(path, text, flags=0):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        return os.write(fd, text)
    finally:
        os.close(fd)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def same(m, *names):
    """Each name is there, on the mount as in the store, with one inode number."""
    inodes = {os.lstat(where(n)).st_ino for n in names for where in (m.path, m.stored)}
    return len(inodes) == 1


def absent(m, name):
    return not os.path.lexists(m.path(name)) and not os.path.lexists(m.stored(name))


def op_mkdir(m):
    os.mkdir(m.path("made"))
    return same(m, "made")


def op_mknod(m):
    os.mknod(m.path("made"), 0o600)
    return same(m, "made")


def op_symlink(m):
    os.symlink("target", m.path("made"))
    return os.readlink(m.stored("made")) == "target"


def op_create(m):
    fd = os.open(m.path("box/tmp/new"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    os.write(fd, b"text")
    ok = os.pread(fd, 10, 0) == b"text"
    os.close(fd)
    return ok and same(m, "box/tmp/new") and read(m.stored("box/tmp/new")) == b"text"


def op_link(m):
    os.link(m.path("box/new/1"), m.path("box/cur/1:2,"))
    return same(m, "box/new/1", "box/cur/1:2,") and os.stat(m.path("box/new/1")).st_nlink == 2


def op_unlink(m):
    os.unlink(m.path("box/new/1"))
    return absent(m, "box/new/1")


def op_rmdir(m):
    os.rmdir(m.path("empty"))
    return absent(m, "empty")


def op_rmdir_full(m):
    try:
        os.rmdir(m.path("box"))
    except OSError as e:
        return e.errno == errno.ENOTEMPTY and os.path.isdir(m.path("box/new"))
    return False


def op_rename(m):
    os.rename(m.path("box/new/1"), m.path("box/cur/1:2,S"))
    return absent(m, "box/new/1") and read(m.path("box/cur/1:2,S")) == b"one\n"


def op_rename_over(m):
    os.rename(m.path("box/new/1"), m.path("box/new/2"))
    return absent(m, "box/new/1") and read(m.path("box/new/2")) == b"one\n"


def op_rename_directory(m):
    os.rename(m.path("box"), m.path("crate"))
    return absent(m, "box") and read(m.path("crate/new/1")) == b"one\n"


def op_append(m):
    write(m.path("box/maildirsize"), b"a line\n", os.O_APPEND)
    return read(m.path("box/maildirsize")) == b"0\na line\n" == read(m.stored("box/maildirsize"))


def op_append_same(m):
    """The line before it was the same: only that this one is there counts."""
    write(m.path("box/maildirsize"), b"0\n", os.O_APPEND)
    return read(m.path("box/maildirsize")) == b"0\n0\n"


def op_write(m):
    fd = os.open(m.path("box/new/1"), os.O_WRONLY)
    os.pwrite(fd, b"ONE", 0)
    os.close(fd)
    return read(m.stored("box/new/1")) == b"ONE\n"


def op_lock(m):
    fd = os.open(m.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"pid:host")
    os.close(fd)
    ok = read(m.path(LOCK)) == b"pid:host"
    try:
        os.open(m.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        return False
    except FileExistsError:
        pass
    os.unlink(m.path(LOCK))
    return ok and absent(m, LOCK)


CASES = (("make", (op_mkdir, op_mknod, op_symlink)), ("create", (op_create,)),
         ("link", (op_link,)), ("unlink", (op_unlink,)),
         ("rmdir", (op_rmdir, op_rmdir_full)),
         ("rename", (op_rename, op_rename_over, op_rename_directory)),
         ("write", (op_append, op_append_same, op_write)),
         ("lock", (op_lock,)), ("unlock", (op_lock,)))


def one(point, op, t):
    """The store is as it must be before the mount; the worker dies at the op's own request."""
    with alone.Alone(MAILFS_DIE=point) as m:
        for part in ("box", "box/cur", "box/new", "box/tmp", "empty"):
            os.mkdir(m.stored(part))
        write(m.stored("box/new/1"), b"one\n")
        write(m.stored("box/new/2"), b"two\n")
        write(m.stored("box/maildirsize"), b"0\n")
        ok = op(m)
        util.poll(lambda: "%s: another worker: %s" % (op.__name__, m.said()), lambda: m.taken_over()[0])
        times, took = m.taken_over()
        t.check(ok, "%s, killed at \"%s\": not as it should be", op.__name__, point)
        t.check(times == 1, "%s: %d workers took over, not 1: %s", op.__name__, times, m.said())
    return took


def test(t):
    took = [one(point, op, t) for point, ops in CASES for op in ops]
    t.figure("%d requests, a worker took over in %d-%d ms", len(took), min(took), max(took))


case.main(test, own="none")
