#!/usr/bin/env python3
"""STATE/role is removed by hand: the node says what it was, what it is now, and what can be done about it; with the line
put back it is what it was."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, util  # noqa: E402


def role(node):
    return (node.status() or {}).get("role")


def said(node):
    return "/role said" in ((node.status() or {}).get("last_error") or "")


def both_follow(t):
    t.a.wait_link(t.b)
    t.b.wait_link(t.a)


def start_apart(t):
    """So that nobody tells it what it is."""
    t.b.stop("syncd")
    t.a.start("syncd", "mailfs")


def test(t):
    t.needs_mailfs()
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.a.start("syncd", "mailfs")
    t.b.start("syncd", "mailfs")
    both_follow(t)
    t.b.mailfs.ctl("promote", "--force")
    util.poll("a is a standby", lambda: role(t.a) == "standby", 20)
    both_follow(t)
    t.a.stop("mailfs", "syncd")
    os.unlink(os.path.join(t.a.mailfs.state, "role"))
    start_apart(t)
    t.equal(role(t.a), "active", "by its configuration")
    text = t.a.status()["last_error"]
    for part in (t.a.mailfs.state + "/role", '"standby 1"', '"active 0"', "mailfs-syncd"):
        t.check(part in text, "what it says lacks %s: %s", part, text)
    t.a.stop("mailfs", "syncd")
    with open(os.path.join(t.a.mailfs.state, "role"), "w") as f:
        f.write("standby 1\n")
    t.a.start("syncd", "mailfs")
    t.equal(role(t.a), "standby", "with the line put back")
    t.check(not said(t.a), "it says so still: %s", t.a.status())
    t.b.start("syncd")
    both_follow(t)
    t.equal([role(t.a), role(t.b)], ["standby", "active"], "roles")


case.main(test, own=True, seconds=90, start=False, postfix=False)
