#!/usr/bin/env python3
"""What is when the mount cannot be kept: a kernel that does not send again, workers that die at once, an
upgrade that cannot start; and a file that was removed while it was open."""

import errno
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import alone, case, mailfs, util  # noqa: E402


GAP = 2     # seconds without a mount, on a machine that has much else to do


def fails_with(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


def old_kernel(t):
    """The mount is made anew: open files are lost, new ones are served after a moment."""
    with alone.Alone(MAILFS_NO_RESEND="1") as m:
        box = m.mailbox()
        path = os.path.join(box, "new", "1")
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(fd, b"text")
        m.kill_worker()
        start = util.now()
        util.poll("the mount made anew", lambda: "made anew" in m.said(), interval=0.002)
        util.poll("a file", lambda: not fails_with(lambda: os.stat(path)), interval=0.002)
        gap = util.now() - start
        t.check(fails_with(lambda: os.pread(fd, 4, 0)) in (errno.ENOTCONN, errno.ECONNABORTED),
                "a file of the lost mount is read")
        fails_with(lambda: os.close(fd))
        with open(path) as f:
            t.equal(f.read(), "text", "content")
    t.figure("without RESEND served anew after %.0f ms", gap * 1000)
    t.check(gap < GAP, "no mount for %.1f s", gap)


def dies_at_once(t):
    """Given up, and nobody hangs."""
    with alone.Alone() as m:
        m.mailbox()
        killed = 0
        while util.proc_alive(m.pid) and killed < 50:
            worker = alone.worker_of(m.pid)
            if worker and m.taken_over()[0] == killed:
                util.proc_signal(worker, signal.SIGKILL)
                killed += 1
            time.sleep(0.001)
            util.reap_children()
        start = util.now()
        t.equal(fails_with(lambda: os.statvfs(m.mount)), errno.ENOTCONN, "errno of a mount given up")
        t.check("given up" in m.said() and util.now() - start < 2, "not given up: %s", m.said())
    t.figure("given up after %d deaths", killed)


def broken_upgrade(t):
    """SIGHUP with a program that does not start changes nothing."""
    directory = os.path.dirname(mailfs.program("mailfs"))
    copy = os.path.join(directory, "mailfs-copy-%d" % os.getpid())
    shutil.copy2(mailfs.program("mailfs"), copy)
    try:
        with alone.Alone(program=copy) as m:
            box = m.mailbox()
            worker = alone.worker_of(m.pid)
            shutil.copy2("/bin/false", copy + ".new")
            os.rename(copy + ".new", copy)
            os.kill(m.pid, signal.SIGHUP)
            util.poll("the refusal", lambda: "it goes on" in m.said())
            os.mkdir(os.path.join(box, "after"))
            t.equal(alone.worker_of(m.pid), worker, "the worker")
            time.sleep(0.35)
            m.replace_worker()      # from the file that it was started from, not from what lies there now
            shutil.copy2(mailfs.program("mailfs"), copy + ".new")
            os.rename(copy + ".new", copy)
            os.kill(m.pid, signal.SIGHUP)
            util.poll("another worker", lambda: m.taken_over()[0] == 2)
            os.rmdir(os.path.join(box, "after"))
    finally:
        os.unlink(copy)


def cannot_start(t):
    """Workers that cannot start for a while are no deaths."""
    with alone.Alone() as m:
        box = m.mailbox()
        os.rename(m.conf, m.conf + ".away")
        m.kill_worker()
        util.poll("six attempts", lambda: m.said().count(m.conf + ":") >= 6, 10)
        os.rename(m.conf + ".away", m.conf)
        os.mkdir(os.path.join(box, "after"))
        util.poll("the worker that could start", lambda: m.taken_over()[0] == 1)


def removed_while_open(t):
    with alone.Alone() as m:
        box = m.mailbox()
        path = os.path.join(box, "file")
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.unlink(path)
        time.sleep(0.35)
        m.replace_worker()
        t.equal(fails_with(lambda: os.write(fd, b"x")), errno.ESTALE, "errno of a removed file")
        os.close(fd)
        t.equal(sorted(os.listdir(box)), ["cur", "new", "tmp"], "the mailbox")


def test(t):
    old_kernel(t)
    dies_at_once(t)
    broken_upgrade(t)
    cannot_start(t)
    removed_while_open(t)


case.main(test, own="none")
