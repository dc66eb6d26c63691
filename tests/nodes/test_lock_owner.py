#!/usr/bin/env python3
"""A process dies holding the uidlist lock: neither node is stuck with it (DESIGN 8.13)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, locks, mail, util  # noqa: E402


BOUND = 10


def dies_on(t, owner, other):
    user = t.pair.user("owner")
    ids = [owner.deliver(user, mail.message()) for _ in range(3)]
    t.wait_equal(user)
    with locks.Holder(owner, user) as holder:
        start = util.now()
        holder.kill()
    # Dovecot on the other node needs the lock to number and pick up this one
    ids.append(other.deliver(user, mail.message("after the death")))
    with other.imap(user, timeout=40) as client:
        util.poll("%s shows 4 messages" % other.host, lambda: client.select()["exists"] == 4, 40)
        client.store("1", "+FLAGS", "\\Flagged")
    t.figure("%s served after %.1f s", other.host, util.now() - start)
    t.check(util.now() - start < BOUND, "the token was stuck for %.1f s", util.now() - start)
    start = util.now()
    ids.append(owner.deliver(user, mail.message("at the owner's")))
    view = t.wait_equal(user)
    t.check(util.now() - start < BOUND, "%s took %.1f s", owner.host, util.now() - start)
    compare.assert_has(view, ids, exactly=True)
    t.check("\\Flagged" in view["folders"]["INBOX"][1][1][0], "the flag is lost")


def seen_to_go(t, node):
    """Its name lives in the kernel's cache while it is held: it goes with the lock, not later."""
    user = t.pair.user("owner")
    with locks.Holder(node, user) as holder:
        os.lstat(holder.path)
        holder.kill()
    lock = node.stored(user, "Maildir", "dovecot-uidlist.lock")
    util.poll(node.host + ": the dead process's lock goes", lambda: not os.path.lexists(lock))
    start = util.now()
    util.poll(node.host + ": it is seen to be gone", lambda: not os.path.lexists(holder.path))
    t.check(util.now() - start < 0.8, "a lock that had gone was seen for %.1f s", util.now() - start)


def list_is_read_again(t, node, overridden):
    """Who is killed may have written into Dovecot's index what the list looks like, and not the UIDs that he had put
    into it: it looks otherwise afterwards. Also where another process takes his lock away before his death is seen."""
    user = t.pair.user("overridden" if overridden else "owner")
    node.deliver(user, mail.message())
    t.wait_equal(user)
    with locks.Holder(node, user) as holder:
        with open(node.home(user, "Maildir", "dovecot-uidlist"), "ab", buffering=0) as f:
            f.write(b"2 :1.M1.nobody\n")
            told = os.fstat(f.fileno())
        if overridden:
            os.unlink(node.home(user, "Maildir", "dovecot-uidlist.lock"))
        else:
            holder.kill()
    lock = node.stored(user, "Maildir", "dovecot-uidlist.lock")
    util.poll(node.host + ": the dead process's lock goes", lambda: not os.path.lexists(lock))
    shown = os.stat(node.home(user, "Maildir", "dovecot-uidlist"))
    t.equal(shown.st_size, told.st_size, "size of the list")
    t.check(shown.st_mtime_ns != told.st_mtime_ns, "the list looks as the dead process knew it")


def test(t):
    t.needs_mailfs()
    for overridden in (False, True):
        list_is_read_again(t, t.a, overridden)
    seen_to_go(t, t.a)
    dies_on(t, t.a, t.b)
    dies_on(t, t.b, t.a)


case.main(test)
