#!/usr/bin/env python3
"""The same things made on both nodes at once: users, folders, subscriptions.

What a client was told is made is there from then on, and in the end both have all of it, once.  LAB_LONG=1: 150 users,
six at a time.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402

LONG = os.environ.get("LAB_LONG") == "1"
USERS, LANES = (150, 6) if LONG else (16, 4)


def first_mail(t, name):
    """A mailbox nobody has seen before, first mail at both nodes at once."""
    texts = [mail.message("first"), mail.message("first too")]
    util.parallel(lambda: t.a.deliver(name, texts[0]), lambda: t.b.deliver(name, texts[1]))
    view = t.wait_equal(name)
    compare.assert_has(view, [mail.message_id(x) for x in texts], exactly=True)
    compare.assert_no_duplicates(view)


def make(t, client, other):
    for name in ("Sent", "Drafts", other):
        try:
            client.create(name)
        except util.Fail as error:
            # the other node was first, and that was seen here already
            t.check("exists" in str(error).lower(), "%s", error)
        client.subscribe(name)


def work(t, node, user, other):
    """A client that sets up its account; Message-IDs by folder."""
    texts = {name: mail.message(node.host) for name in ("Sent", "Drafts", other)}
    with node.imap(user) as client:
        make(t, client, other)
        for name, text in texts.items():
            client.append(name, text)
        for name in texts:
            client.select(name)
    return {name: mail.message_id(text) for name, text in texts.items()}


def check(t, user, ids):
    view = t.wait_equal(user, timeout=30)
    t.equal(sorted(view["folders"]), ["Drafts", "INBOX", "OfA", "OfB", "Sent"], user + ": folders")
    t.equal(view["subscribed"], ["Drafts", "OfA", "OfB", "Sent"], user + ": subscribed")
    for folder in ("Sent", "Drafts", "OfA", "OfB"):
        compare.assert_has(view, [i[folder] for i in ids if folder in i], folder, exactly=True)
    compare.assert_no_duplicates(view)


def lane(t, numbers, done):
    for number in numbers:
        user = "both-%d-%d" % (os.getpid(), number)
        done.append((user, util.parallel(lambda: work(t, t.a, user, "OfA"), lambda: work(t, t.b, user, "OfB"))))


def test(t):
    # a mailbox that both made has had two of them: one must change
    t.forgive(r"UIDVALIDITY changed")
    for i in range(5):
        first_mail(t, "anew-%d-%d" % (os.getpid(), i))
    numbers, done = iter(range(USERS)), []
    for thread in [util.Thread(lane, t, numbers, done) for _ in range(LANES)]:
        thread.join(300)
    t.pair.wait_in_sync(60)
    for user, ids in done:
        check(t, user, ids)
    t.equal(len(done), USERS, "users")
    t.figure("%d users", USERS)


case.main(test, seconds=400 if LONG else 60)
