#!/usr/bin/env python3
"""Mailboxes made, renamed, deleted and subscribed on either node."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail  # noqa: E402


def renames(t, user, on_a, on_b):
    on_a.create("Projects")
    on_a.create("Projects.One")
    on_a.subscribe("Projects")
    on_a.append("Projects.One", mail.message("kept", size=3000), "\\Seen")
    view = t.wait_equal(user)
    t.equal(view["subscribed"], ["Projects"], "subscribed")
    before = view["folders"]["Projects.One"]
    on_b.rename("Projects.One", "Projects.Two")
    on_b.subscribe("INBOX")
    view = t.wait_equal(user)
    t.check("Projects.One" not in view["folders"], "the old name is still there")
    t.equal(view["folders"]["Projects.Two"], before, "the renamed mailbox")
    # the parent takes its child along
    on_a.rename("Projects", "Done")
    view = t.wait_equal(user)
    t.equal(view["folders"]["Done.Two"], before, "the child of the renamed mailbox")


def deletes(t, user, on_a, on_b):
    # the new one of an old name is another one
    on_b.create("Projects")
    view = t.wait_equal(user)
    t.check("Projects" in view["folders"] and "Done" in view["folders"], "folders %s",
            sorted(view["folders"]))
    on_a.delete("Done.Two")
    on_a.subscribe("Projects", False)
    view = t.wait_equal(user)
    t.equal(sorted(view["folders"]), ["Done", "INBOX", "Projects"], "folders")
    t.equal(view["subscribed"], ["INBOX"], "subscribed")
    # deleted on b, made anew on a, with mail
    on_b.delete("Done")
    t.wait_equal(user)
    on_a.create("Done")
    on_a.append("Done", mail.message("anew"))
    view = t.wait_equal(user)
    t.equal(len(view["folders"]["Done"][1]), 1, "messages in the new folder")
    compare.assert_no_duplicates(view)


def test(t):
    user = t.pair.user("box")
    with t.a.imap(user) as on_a, t.b.imap(user) as on_b:
        renames(t, user, on_a, on_b)
        deletes(t, user, on_a, on_b)


if __name__ == "__main__":
    case.main(test)
