"""A mail client that stays connected, keeps its own idea of the mailbox, and finds out if it is wrong.

It counts the messages by what EXISTS and EXPUNGE tell it (RFC 9051, 7.4.1 and 7.5.1), as a real
client does: after any answer the message number N must have the UID it takes it for, and a body
must be that of the message that a Witness knows by this UID.
"""

import random
import re
import threading

from . import apart, imap, util


class Follower:
    """One session in one mailbox; step() does one thing and checks."""

    def __init__(self, node, user, folder, witness, seed=1):
        self.node, self.user, self.folder, self.witness = node, user, folder, witness
        self.random = random.Random(seed)
        self.client = node.imap(user)
        self.validity = self.client.select(folder)["uidvalidity"]
        self.uids, self.exists = [], self.client.exists     # uids: of the first of them
        self.longest = 0.0      # step, in seconds
        self.client.watch = self.heard
        self.learn()

    def fail(self, text, *args):
        raise util.Fail("%s %s/%s: %s" % (self.node.host, self.user, self.folder, text % args))

    def heard(self, parts):
        match = re.match(rb"\* (\d+) (EXPUNGE|EXISTS|FETCH)", parts[0])
        if match and match.group(2) == b"EXPUNGE":
            self.expunge(int(match.group(1)))
        elif match and match.group(2) == b"EXISTS":
            self.exist(int(match.group(1)))
        elif match:
            self.fetched(int(match.group(1)), imap.parse(parts))

    def expunge(self, number):
        if not 1 <= number <= self.exists:
            self.fail("EXPUNGE of %d, there are %d", number, self.exists)
        self.exists -= 1
        del self.uids[number - 1:number]

    def exist(self, number):
        if number < self.exists:
            self.fail("EXISTS says %d, there were %d", number, self.exists)
        self.exists = number

    def fetched(self, number, tokens):
        items = dict(zip(tokens[3][0::2], tokens[3][1::2]))
        if number > self.exists:
            self.fail("FETCH of %d, there are %d", number, self.exists)
        if "UID" not in items:
            return
        uid = int(items["UID"])
        if number <= len(self.uids) and self.uids[number - 1] != uid:
            self.fail("message %d is UID %d, was %d", number, uid, self.uids[number - 1])
        if number == len(self.uids) + 1:
            self.uids.append(uid)

    def learn(self):
        """The UIDs of the messages behind the last one known."""
        have = len(self.uids)
        if self.exists > have:
            self.client.command("FETCH %d:* (UID)" % (have + 1))
        if any(a >= b for a, b in zip(self.uids[have - 1 if have else 0:], self.uids[have or 1:])):
            self.fail("UIDs do not ascend: %s", self.uids[max(have - 2, 0):have + 5])

    def step(self):
        start = util.now()
        self.look()
        self.longest = max(self.longest, util.now() - start)

    def look(self):
        self.client.noop()
        self.learn()
        if not self.uids:
            return
        uid = self.random.choice(self.uids)
        # by the UID: between the NOOP and this nothing may have been renumbered
        seen = apart.bodies(self.client, str(uid))
        self.witness.look(self.node.host, self.user, self.folder, self.validity, seen)
        if not seen:        # expunged or renumbered meanwhile; and that must be said
            self.client.noop()
            if uid in self.uids:
                self.fail("UID %d has no body, and is not expunged", uid)

    def finish(self):
        """The whole mailbox is as this client thinks."""
        self.client.noop()
        self.learn()
        uids = self.client.uids()
        if uids != self.uids:
            self.fail("has UIDs %s..., thinks %s...", uids[-5:], self.uids[-5:])
        self.witness.look(self.node.host, self.user, self.folder, self.validity, self.client.ids())
        self.client.close()


class Followers:
    """Many of them, one thread for each, from start to end()."""

    def __init__(self, followers, pause=0.02):
        self.followers, self.halt, self.pause, self.steps = followers, threading.Event(), pause, 0
        self.threads = [util.Thread(self.work, f) for f in followers]

    def work(self, follower):
        while not self.halt.is_set():
            follower.step()
            self.steps += 1
            self.halt.wait(self.pause)

    def end(self):
        self.halt.set()
        for thread in self.threads:
            thread.join()
        for follower in self.followers:
            follower.finish()
