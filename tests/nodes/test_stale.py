#!/usr/bin/env python3
"""A mount left by a crash is cleaned at the next start; daemons in the background; exit codes."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mailfs, util  # noqa: E402


import signal  # noqa: E402

KEYS = ("name", "state", "peer", "lag_seconds", "pending_messages", "pending_bytes", "last_error")


def stale_mount(t, node):
    node.start("mailfs")
    with open(node.home("file"), "w") as f:
        f.write("content")
    node.kill("mailfs")
    t.check(node.mailfs.mounted(), "the kernel took the mount away by itself: nothing to test")
    node.start("mailfs")
    with open(node.home("file")) as f:
        t.equal(f.read(), "content", "the file after a crash")
    node.stop("mailfs")
    t.check(not node.mailfs.mounted(), "SIGTERM left the mount")


def background(t, node):
    """Returns once mounted, once listening."""
    conf = node.mailfs.conf
    done = node.run(mailfs.program("mailfs"), "-c", conf, "mail", timeout=10)
    t.equal(done.returncode, 0, "mailfs in the background")
    t.check(node.mailfs.mounted() and os.path.exists(node.home("file")), "returned before it was mounted")
    done = node.run(mailfs.program("mailfs-syncd"), "-c", conf, timeout=10)
    t.equal(done.returncode, 0, "mailfs-syncd in the background")
    t.check(node.listening(7400), "returned before it was listening")


def control(t, node):
    status = node.status() or {}
    t.equal(status.get("node"), "mx-a", "node in status --json")
    for key in KEYS:
        t.check(key in status, "status --json without %s", key)
    t.check("mail" in node.mailfs.ctl("status").stdout, "status does not name the volume")
    start = util.now()
    t.equal(node.mailfs.ctl("wait", "in-sync", "--timeout", "1", check=False).returncode, 3,
            "wait for what will not be")
    t.check(0.5 < util.now() - start < 5, "wait --timeout 1 took %.1f s", util.now() - start)
    t.equal(node.mailfs.ctl("nonsense", check=False).returncode, 2, "unknown command")
    t.equal(node.mailfs.ctl("wait", "nonsense", check=False).returncode, 2, "unknown state")


def test(t):
    t.needs_mailfs()
    node = t.a
    stale_mount(t, node)
    background(t, node)
    control(t, node)
    # umount ends mailfs; SIGTERM ends syncd
    t.equal(len(node.space.pids()), 4, "processes: holder, worker, poker; syncd")
    util.run(["umount", node.mount])
    util.poll("end of mailfs after umount", lambda: len(node.space.pids()) == 1)
    for pid in node.space.pids():
        util.proc_signal(pid, signal.SIGTERM)
    util.poll("end of syncd after SIGTERM", lambda: not node.space.pids())


case.main(test, own=True, start=False, postfix=False, dovecot=False)
