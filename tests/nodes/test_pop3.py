#!/usr/bin/env python3
"""POP3: the same UIDLs on both nodes; what is deleted on b is gone on a."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, mail, util  # noqa: E402


def uidl(node, user):
    with node.pop3(user) as client:
        got = client.uidl()
        client.quit()
    return got


def test(t):
    user = t.pair.user("pop")
    texts = [mail.message("pop %d" % i, size=3000) for i in range(5)]
    for text in texts:
        t.a.deliver(user, text)
    on_a = uidl(t.a, user)
    t.equal(len(on_a), 5, "messages on a")
    util.poll("the same UIDLs on b", lambda: uidl(t.b, user) == on_a)
    with t.b.pop3(user) as client:
        for number, text in enumerate(texts, 1):
            t.check(mail.message_id(client.many("RETR %d" % number)) == mail.message_id(text),
                    "message %d is another one", number)
        client.command("DELE 2")
        client.command("DELE 5")
        client.quit()
    left = {1: on_a[1], 2: on_a[3], 3: on_a[4]}
    util.poll("3 messages left on a", lambda: uidl(t.a, user) == left)
    t.wait_equal(user)


case.main(test)
