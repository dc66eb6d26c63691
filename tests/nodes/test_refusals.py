#!/usr/bin/env python3
"""Mount points and stores that cannot be right are refused, with a clear error."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mailfs, util  # noqa: E402


import subprocess  # noqa: E402

WITHIN = ("inside", "below", "within", "under")


def attempt(t, what, store, mount, want):
    """Start mailfs in the foreground with this store and mount; it must end with an error."""
    node = t.a
    node.store, node.mount = store, mount
    node.mailfs.write(peer=None)
    child = subprocess.Popen(node.argv(mailfs.program("mailfs"), "-f", "-c", node.mailfs.conf, "mail"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True)
    try:
        said = child.communicate(timeout=5)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise util.Fail("%s: not refused" % what) from None
    t.check(child.returncode in (1, 2), "%s: exit %d: %s", what, child.returncode, said)
    t.check(any(w in said for w in want), "%s: the error does not say why: %s", what, said)


def places(t, store, mount):
    attempt(t, "store is the mount point", store, store, ("mount", "store"))
    inner = os.path.join(store, "inner")
    os.makedirs(inner)
    attempt(t, "mount point in the store", store, inner, WITHIN)
    inner = os.path.join(mount, "inner")
    os.makedirs(inner)
    attempt(t, "store in the mount point", inner, mount, WITHIN)
    os.rmdir(inner)
    mistake = os.path.join(mount, "mail-by-mistake")
    with open(mistake, "w") as f:
        f.write("x")
    attempt(t, "mount point not empty", store, mount, ("empty",))
    os.unlink(mistake)
    attempt(t, "no store", store + ".none", mount, ("store",))
    attempt(t, "no mount point", store, mount + ".none", ("mount",))


def configurations(t, conf):
    """A wrong configuration: exit 2, with file and line."""
    with open(conf, "w") as f:
        f.write('node = "mx-a"\nvolume "mail" {\n    stoer = "/x"\n}\n')
    for name, args in (("mailfs", ("-f",)), ("mailfs-syncd", ("-f",)), ("mailfsctl", ("check-config",))):
        done = t.a.run(mailfs.program(name), "-c", conf, *args, check=False)
        t.equal(done.returncode, 2, name + " with a wrong configuration")
        t.check("%s:3" % os.path.basename(conf) in done.stderr + done.stdout,
                "%s does not name file:line: %s", name, done.stderr)


def test(t):
    t.needs_mailfs()
    node = t.a
    store, mount = node.store, node.mount
    places(t, store, mount)
    node.store, node.mount = store, mount
    configurations(t, node.mailfs.conf)
    # and what is right is mounted
    node.mailfs.write(peer=None)
    node.mailfs.ctl("check-config")
    node.start("mailfs")
    node.stop("mailfs")


case.main(test, own=True, start=False, postfix=False, dovecot=False)
