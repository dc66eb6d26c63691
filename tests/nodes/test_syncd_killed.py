#!/usr/bin/env python3
"""syncd of node a killed, and stopped; the mount serves, those who are connected stay so; it comes back."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, follow, mail, storm, util  # noqa: E402

PROMPT = 2      # seconds; less than the timeout: nobody is to wait for a syncd that has gone


def deliver(t, user, text):
    start = util.now()
    ident = t.a.deliver(user, mail.message(text))
    took = util.now() - start
    t.check(took < PROMPT, "a delivery %s took %.1f s", text, took)
    return ident, took


def without(t, user, sig, ids, sleeper):
    """What is done on node a while there is no syncd; how long the first delivery took."""
    t.a.kill("syncd", sig)
    ident, took = deliver(t, user, "without syncd")
    ids.append(ident)
    woken = sleeper.idle_wait(rb"\* %d EXISTS" % len(ids))[1]
    ids.append(deliver(t, user, "without syncd too")[0])
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Seen" if sig == signal.SIGKILL else "\\Flagged")
    return took, woken


def round_of(t, user, sig, ids, witness):
    ids.append(t.a.deliver(user, mail.message("before")))
    t.wait_equal(user)
    followers = [follow.Follower(node, user, "INBOX", witness) for node in t.pair.nodes]
    with t.a.imap(user, mailbox="INBOX") as on_a, t.b.imap(user, mailbox="INBOX") as on_b:
        for sleeper in (on_a, on_b):
            sleeper.idle()
        crew = follow.Followers(followers)
        took, woken = without(t, user, sig, ids, on_a)
        start = util.now()
        t.a.start("syncd")
        # well before the 30 s in which Dovecot looks by itself
        for sleeper in (on_a, on_b):
            sleeper.idle_wait(rb"\* %d EXISTS" % len(ids))
            sleeper.done()
        t.pair.wait_in_sync()
        view = t.wait_equal(user)
        equal = util.now() - start
        crew.end()
    longest = max(f.longest for f in followers)
    t.figure("signal %d: first delivery %.1f s, a client that IDLEs woken after %.1f s, longest wait of %d "
             "steps of others %.1f s, equal again %.1f s after the start", sig, took, woken, crew.steps, longest, equal)
    t.check(longest < PROMPT, "a client that was connected waited %.1f s", longest)
    compare.assert_has(view, ids, exactly=True)
    compare.assert_no_duplicates(view)
    return view


def test(t):
    t.needs_mailfs()
    user, ids, witness = t.pair.user("syncd"), [], storm.Witness()
    round_of(t, user, signal.SIGKILL, ids, witness)
    view = round_of(t, user, signal.SIGTERM, ids, witness)
    t.equal(set(view["folders"]["INBOX"][1][1][0]), {"\\Seen", "\\Flagged"}, "flags of UID 1")


case.main(test)
