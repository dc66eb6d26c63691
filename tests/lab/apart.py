"""Many small stories of one partition: each its own user, all in one cut of the link.

A story is a class with some of these methods; before() runs while both nodes are connected,
apart() once on each node while they are not (the link is cut, both sides go on), after() when
they have met again and show the same.  On each node one client stays connected to `watched`
from before the cut to the end, another one is new each time; both tell a Witness what they see.
"""

import re

from . import compare, imap, mail, storm, util

HEAD = "BODY[HEADER.FIELDS (MESSAGE-ID)]"


class Story:
    """One user.  Subclasses say what happens; self.ids has the Message-IDs by a name."""

    folders = ()
    watched = "INBOX"
    reborn = ()         # folders that are others afterwards

    def __init__(self, test):
        self.test, self.ids = test, {}
        self.user = test.pair.user(type(self).__name__.lower(), self.folders)
        self.witness, self.clients = storm.Witness(), {}
        self.view_before, self.view = None, None

    # --- what a story tells -----------------------------------------------------------------

    def before(self):
        """Both nodes connected: what both are to agree on."""

    def apart(self, node):
        """Alone: what this node's users do."""

    def after(self):
        """Both show self.view."""

    # --- helpers ----------------------------------------------------------------------------

    def deliver(self, node, *names):
        for name in names:
            self.ids[name] = node.deliver(self.user, mail.message(name))

    def append(self, client, folder, name, flags=""):
        text = mail.message(name)
        client.append(folder, text, flags)
        self.ids[name] = mail.message_id(text)

    def uid(self, client, name):
        """The UID of a message of self.ids in the selected mailbox."""
        found = [u for u, i in client.ids().items() if i == self.ids[name]]
        if len(found) != 1:
            raise util.Fail("%s: %s is there %d times" % (self.user, name, len(found)))
        return found[0]

    def names(self, folder="INBOX"):
        """The messages of a folder by their names in self.ids, sorted."""
        back = {i: n for n, i in self.ids.items()}
        return sorted(back.get(row[1], row[1]) for row in self.view["folders"][folder][1].values())

    def flags(self, name, folder="INBOX"):
        rows = [r for r in self.view["folders"][folder][1].values() if r[1] == self.ids[name]]
        if len(rows) != 1:
            raise util.Fail("%s: %s is in %s %d times" % (self.user, name, folder, len(rows)))
        return set(rows[0][0])

    def look(self):
        """By both clients of both nodes: does a UID name what it named?"""
        for node, client in self.clients.items():
            client.noop()
            self.fetch(node.host + " (connected)", client, client.validity)
            with node.imap(self.user) as new:
                self.fetch(node.host + " (new)", new, new.select(self.watched)["uidvalidity"])

    def fetch(self, where, client, validity):
        seen = bodies(client)
        self.witness.look(where, self.user, self.watched, validity, seen)

    def connect(self):
        for node in self.test.pair.nodes:
            self.clients[node] = client = node.imap(self.user)
            client.validity = client.select(self.watched)["uidvalidity"]
        self.view_before = self.test.wait_equal(self.user)
        self.look()

    def alone(self):
        for node in self.test.pair.nodes:
            self.apart(node)
        self.look()

    def meet(self):
        """Equal on both nodes, and the same UIDs and UIDVALIDITY as ever."""
        self.view = self.test.wait_equal(self.user)
        self.look()
        for folder, (validity, _rows) in self.view_before["folders"].items():
            if folder in self.view["folders"] and folder not in self.reborn and \
                    self.view["folders"][folder][0] != validity:
                raise util.Fail("%s: UIDVALIDITY of %s has changed" % (self.user, folder))
        compare.assert_no_duplicates(self.view)
        self.after()

    def close(self):
        for client in self.clients.values():
            client.close()


def bodies(client, what="1:*"):
    """{uid: Message-ID} by the bodies, which must be those of the headers (of Dovecot's cache)."""
    seen = {}
    for uid, v in client.fetch(what, "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)] BODY.PEEK[])").items():
        cached = imap.header_id(v.get(HEAD))
        if not isinstance(v.get("BODY[]"), bytes):  # NIL: expunged meanwhile
            continue
        body = imap.text_of(v["BODY[]"])
        ident = re.search(r"^message-id:\s*(\S+)", body, re.I | re.M)
        if not ident or (cached is not None and ident.group(1) != cached):
            raise util.Fail("%s: UID %d: header of %s with the body of %s" % (
                client.user, uid, cached, ident and ident.group(1)))
        seen[uid] = ident.group(1)
    return seen


def tell(test, kinds, cut):
    """Tell all these stories in one partition; every one that fails is named.

    cut: a function that ends the connection; heal_link() is the way back.
    """
    test.needs_mailfs()
    stories = [kind(test) for kind in kinds]
    failed = []

    def each(step):
        for story in list(stories):
            try:
                step(story)
            except (util.Fail, OSError, KeyError, IndexError) as error:
                failed.append("%s: %s" % (type(story).__name__, error))
                stories.remove(story)
    each(lambda s: s.before())
    each(lambda s: s.connect())
    cut()
    for node in test.pair.nodes:
        node.wait_state("alone")
    each(lambda s: s.alone())
    start = util.now()
    test.pair.heal_link()
    test.pair.wait_in_sync(timeout=40)
    took = util.now() - start
    each(lambda s: s.meet())
    each(lambda s: s.close())
    if failed:
        raise util.Fail("%d of %d stories:\n      %s" % (len(failed), len(kinds), "\n      ".join(failed)))
    test.figure("%d stories, in-sync %.1f s after contact", len(kinds), took)
