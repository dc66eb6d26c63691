#!/usr/bin/env python3
"""Acts that cross: renames both ways, delete against delivery, subscriptions (DESIGN 8.7, 8.11)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


ROUNDS = 3


def quiet(call):
    """What one side may be told when the other was first; None if it went well."""
    try:
        call()
        return None
    except util.Fail as error:
        return str(error)


def renamed_both_ways(t, user, on_a, on_b, number):
    name = "R%d" % number
    ident = "%s-%s@test" % (name, user)
    on_a.create(name)
    on_a.append(name, mail.message("in " + name, ident=ident))
    t.wait_equal(user)
    util.parallel(lambda: quiet(lambda: on_a.rename(name, name + "a")),
                  lambda: quiet(lambda: on_b.rename(name, name + "b")))
    view = t.wait_equal(user)
    places = [f for f in view["folders"] if f.startswith(name)]
    t.check(any(compare.count_ids(view, f)["<%s>" % ident] == 1 for f in places),
            "the message of %s is gone; folders %s", name, sorted(view["folders"]))
    t.equal(len(places), 1, "folders that %s has become: %s" % (name, places))


def deleted_and_delivered(t, user, on_a, on_b, number):
    name = "D%d" % number
    on_a.create(name)
    t.wait_equal(user)
    ident = "late-%s-%s@test" % (name, user)
    refused = util.parallel(lambda: quiet(lambda: on_a.delete(name)),
                            lambda: quiet(lambda: on_b.append(name, mail.message(ident=ident))))
    view = t.wait_equal(user)
    there = compare.count_ids(view)["<%s>" % ident]
    if refused[1] is None:
        t.check(there <= 1, "the message is there %d times", there)
        return there
    t.equal(there, 0, "copies of a message that was refused")
    return None


def subscribed_on_both(t, user, on_a, on_b):
    for i in range(6):
        on_a.create("s%d" % i)
    t.wait_equal(user)
    util.parallel(lambda: [on_a.subscribe("s%d" % i) for i in range(4)],
                  lambda: [on_b.subscribe("s%d" % i) for i in range(2, 6)])
    view = t.wait_equal(user)
    t.equal(view["subscribed"], ["s%d" % i for i in range(6)], "subscribed")


def test(t):
    user = t.pair.user("cross")
    lived = []
    with t.a.imap(user) as on_a, t.b.imap(user) as on_b:
        for number in range(ROUNDS):
            renamed_both_ways(t, user, on_a, on_b, number)
            lived.append(deleted_and_delivered(t, user, on_a, on_b, number))
        subscribed_on_both(t, user, on_a, on_b)
    t.figure("delivered while deleted: %s", lived)


case.main(test)
