"""Many users whose INBOXes all change on both sides, and folders of many messages."""

import os
import re

from . import compare, mail, util


def users(count, prefix="crowd"):
    return ["%s-%d-%d" % (prefix, os.getpid(), i) for i in range(count)]


def everyone(node, names, subject):
    """One message to each, in this order; the Message-IDs by user."""
    ids = {}
    for at in range(0, len(names), 55):
        text = mail.message(subject)
        replies = node.lmtp(names[at:at + 55], text)
        bad = [r for r in replies if not r.startswith("250")]
        if bad:
            raise util.Fail("%s: %s" % (node.host, bad[0]))
        ids.update(dict.fromkeys(names[at:at + 55], mail.message_id(text)))
    return ids


def fill(client, folder, count):
    """Messages in a new folder: a few appended, then copied within it until there are enough."""
    first = 125
    client.create(folder)
    for i in range(first):
        client.append(folder, mail.message("many %d" % i))
    client.select(folder)
    have = first
    while have < count:
        part = min(have, count - have)
        client.copy("1:%d" % part, folder)
        client.noop()
        have += part


def merged(t, since):
    """The users whose INBOX has been merged, in that order, by a's log."""
    with open(t.a.log("syncd")) as f:
        f.seek(since)
        return re.findall(r"/([a-z]+-\d+-\d+)/Maildir: merged:", f.read())


def disk_equal(t, names):
    def different():
        return [u for u in names if compare.tree_difference(*(compare.tree_view(n, u) for n in t.pair.nodes))]
    util.poll(lambda: "equal on disk: %s" % different()[:5], lambda: not different(), 30, 0.5)
