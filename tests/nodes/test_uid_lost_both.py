#!/usr/bin/env python3
"""mailfs of both nodes dies with its mount amid deliveries at both: no message that a client was shown under a UID
is shown under another one later, or goes.

Where the list of UIDs could not be written Dovecot goes on with what its index has: what only that says is not
looked at here, but that no such UID is given to another message."""

import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, imap, mail, outage, util  # noqa: E402

DEATHS = 1      # of each node's mailfs at least


class Look(util.Thread):
    """A client that looks at the mailbox again and again: (UIDVALIDITY, UID) -> the messages that it named, and
    which of them the list had as well."""

    def __init__(self, node, user):
        self.node, self.user, self.halt = node, user, threading.Event()
        self.seen, self.listed, self.went = {}, set(), []
        super().__init__(self.work)

    def look(self, client, validity):
        lists = [compare.parse_uidlist(node.stored(self.user, "Maildir", "dovecot-uidlist"))[2]
                 for node in (self.node, self.node.peer)]
        for uid, ident in client.ids().items():
            if ident:
                self.seen.setdefault((validity, uid), set()).add(ident)
                if all(uid in rows for rows in lists) and lists[0][uid] == lists[1][uid]:
                    self.listed.add((validity, uid))

    def work(self):
        while not self.halt.is_set():
            try:
                with self.node.imap(self.user, timeout=10) as client:
                    validity = client.select()["uidvalidity"]
                    for _ in range(20):
                        self.look(client, validity)
                        if self.halt.wait(0.02):
                            break
            except (imap.ImapError, OSError):
                self.halt.wait(0.05)

    def end(self):
        self.halt.set()
        self.join(30)


def deaths(node):
    with open(node.log("mailfs"), errors="replace") as f:
        return f.read().count("made anew")


def test(t):
    t.needs_mailfs()
    os.environ["MAILFS_NO_RESEND"] = "1"
    for node in t.pair.nodes:
        os.environ["MAILFS_DIE"] = "number:%d" % random.randint(4, 12)
        print("   ", node.host, os.environ["MAILFS_DIE"])
        node.start()
    t.pair.wait_in_sync()
    t.forgive(outage.MOUNT_LOST)
    user = t.pair.user("bothlost")
    first = [t.a.deliver(user, mail.message("before"))]
    t.wait_equal(user)
    runs = [outage.Deliveries(node, [user], threads=2) for node in t.pair.nodes]
    looks = [Look(node, user) for node in t.pair.nodes]
    util.poll(lambda: "both mounts lost: %s" % [deaths(n) for n in t.pair.nodes],
              lambda: all(deaths(n) >= DEATHS for n in t.pair.nodes), 40)
    acked = first + [i for run in runs for i in run.end()[user]]
    for look in looks:
        look.end()
    t.pair.wait_in_sync()
    view = t.wait_equal(user)["folders"]["INBOX"]
    now = {uid: row[1] for uid, row in view[1].items()}
    for look in looks:
        for (validity, uid), idents in sorted(look.seen.items()):
            t.equal(validity, view[0], "%s: UIDVALIDITY" % look.node.host)
            t.check(len(idents | {now.get(uid)} - {None}) == 1, "%s: UID %d named %s, and is %s", look.node.host, uid, idents, now.get(uid))
            if (validity, uid) in look.listed:
                t.check(uid in now, "%s: UID %d was %s (%s); that is %s now", look.node.host, uid, idents,
                        "accepted" if idents & set(acked) else "not accepted",
                        [u for u, i in now.items() if i in idents])
    t.check(set(acked) <= set(now.values()), "accepted and missing: %s", set(acked) - set(now.values()))
    t.figure("%d accepted, deaths %s, %d UIDs shown", len(acked), [deaths(n) for n in t.pair.nodes],
             sum(len(look.seen) for look in looks))


case.main(test, own=True, start=False, postfix=False)
