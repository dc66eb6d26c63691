#!/usr/bin/env python3
"""A node that starts empty is filled, within its bandwidth: what is asked for first, nothing twice
over a link that is cut, little when the mail was copied there before; and the progress is shown."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, mailfs, util  # noqa: E402

MAILS, SIZE = 100, 60000
BANDWIDTH = 1 << 20


def fill(node):
    with node.imap("large") as client:
        client.select()
        client.create("Big")
        for n in range(MAILS):
            client.append("Big", mail.message("nr %d" % n, size=SIZE))
        client.logout()
    return [node.deliver("asked", mail.message("asked for")) for _ in range(3)]


def received(node):
    """Bytes that came over this node's end of the cable."""
    links = json.loads(node.run("ip", "-j", "-s", "link", "show", "eth0").stdout)
    return links[0]["stats64"]["rx"]["bytes"]


def progress(node):
    return (node.status() or {}).get("progress") or {}


def watch(t, node):
    """The first two screens of status --watch."""
    argv = node.argv(mailfs.program("mailfsctl"), "-c", node.mailfs.conf, "status", "--watch")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, universal_newlines=True) as child:
        lines, screens = [], 0
        for line in child.stdout:
            lines.append(line)
            screens += line.startswith("node ")
            if screens == 3:
                break
        child.kill()
    bars = [line.split("]")[0] for line in lines if line.startswith("  progress")]
    t.check(bars and "[" in bars[0], "status --watch prints: %s", "".join(lines))
    t.check(any("left" in line for line in lines if "progress" in line), "no estimate: %s", lines)


def asked_first(t, ids):
    with t.b.imap("asked") as client:
        client.select()
        t.equal(sorted(client.ids().values()), sorted(ids), "the mailbox that is asked for")
    at = progress(t.b)
    t.check(at.get("mailboxes_left", 0) > 0, "the large mailbox was there before: %s", at)


def seed(t, total):
    ids = fill(t.a)
    before = compare.user_view(t.a, "large")
    rx, start = received(t.b), util.now()
    t.b.start("syncd", "mailfs", "dovecot")
    util.poll(lambda: "b receives: %s" % t.b.status(), lambda: progress(t.b).get("received_messages"))
    asked_first(t, ids)
    util.poll("a part of it", lambda: progress(t.b).get("received_bytes", 0) > total / 5, 20, 0.05)
    t.pair.cut_link(silent=False)
    t.b.wait_state("alone")
    t.pair.heal_link()
    t.b.wait_state("catching-up")
    watch(t, t.b)
    t.pair.wait_in_sync(timeout=30)
    wire, seconds = received(t.b) - rx, util.now() - start
    t.figure("%.1f MB of mail: %.1f MB over a link cut once, %.1f s", total / 1e6, wire / 1e6, seconds)
    t.check(wire < total * 1.25, "%d bytes came for %d bytes of mail", wire, total)
    t.check(total / seconds < BANDWIDTH * 1.1, "faster than the bandwidth: %d bytes/s", total / seconds)
    t.equal(compare.user_view(t.b, "large"), before, "what b has")
    t.wait_equal("asked")


def empty_b(t, copy):
    """b gets a new store, state and key; `copy` puts mail into it first, as rsync would."""
    t.b.stop("dovecot", "mailfs", "syncd")
    t.a.wait_state("alone")
    for where in (t.b.store, t.b.mailfs.state):
        util.run(["find", where, "-mindepth", "1", "-delete"])
    util.run(["find", t.b.dovecot.index, "-mindepth", "1", "-delete"])
    if copy:
        for name in os.listdir(t.a.store):
            if name != ".mailfs":
                util.run(["cp", "-r", "--preserve=" + copy, os.path.join(t.a.store, name), t.b.store])
    t.b.mailfs.ctl("init")
    t.a.stop("syncd")
    t.pair.configure()
    t.a.start("syncd")


def seeded_before(t, total, copy, what):
    empty_b(t, copy)
    new = t.a.deliver("large", mail.message("since the copy"))
    rx = received(t.b)
    t.b.start("syncd", "mailfs", "dovecot")
    t.pair.wait_in_sync(timeout=30)
    view = t.wait_equal("large")
    wire = received(t.b) - rx
    t.figure("%s: %.2f MB", what, wire / 1e6)
    compare.assert_has(view, [new], "INBOX")
    t.equal(len(view["folders"]["Big"][1]), MAILS, "messages in Big")
    t.check(wire < total * 0.1, "%s: %d bytes came for %d bytes of mail", what, wire, total)


def compressed(t, total):
    """The same once more from nothing, compressed."""
    for node in t.pair.nodes:
        node.mailfs.compress = "on"
    before = compare.user_view(t.a, "large")
    empty_b(t, None)
    rx = received(t.b)
    t.b.start("syncd", "mailfs", "dovecot")
    t.pair.wait_in_sync(timeout=30)
    wire = received(t.b) - rx
    t.figure("compressed: %.2f MB", wire / 1e6)
    t.check(wire < total * 0.3, "%d bytes came for %d bytes of mail", wire, total)
    t.equal(compare.user_view(t.b, "large"), before, "what b has")


def test(t):
    t.needs_mailfs()
    total = MAILS * SIZE
    t.a.mailfs.bandwidth = "1M"
    t.a.mailfs.compress = "off"
    t.pair.configure()
    t.a.start("syncd", "mailfs", "dovecot")
    seed(t, total)
    seeded_before(t, total, "mode,ownership,timestamps,links", "copied before")
    seeded_before(t, total, "mode,ownership,timestamps,links,xattr", "with xattrs")
    compressed(t, total)


case.main(test, own=True, start=False, postfix=False)
