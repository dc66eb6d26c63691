"""Both nodes show the same: over IMAP, and in the stores on disk."""

import collections
import hashlib
import os
import re
import stat

from . import imap, mail, util

# what is a node's own (docs/DESIGN.md, path classes): locks, indexes, derived files
LOCAL = re.compile(r"(^|/)(tmp/.+|[^/]*\.lock|dovecot-uidlist\.tmp|dovecot\.index.*|"
                   r"dovecot\.list\.index.*|dovecot\.mailbox\.log.*|dovecot-acl-list|maildirsize[^/]*|"
                   r"\.dovecot\.lda-dupes.*|new/\.poke.*|cur/\.poke.*|\.\.DOVECOT-TRASHED.*|"
                   r"\.nfs[^/]*|\.temp\.[^/]*|dovecot-uidvalidity\.[0-9a-f]{8})$")

DELETED, DELETED_FOR = "Mailbox was deleted under us", 30   # seconds: MAILBOX_DELETE_RETRY_SECS
BODY = "BODY[]"
HEAD = "BODY[HEADER.FIELDS (MESSAGE-ID)]"


def examine(client, folder):
    """The UIDVALIDITY.  A deletion that was broken off has left its mark in Dovecot's index of that node: Dovecot
    takes it back when the folder is opened for writing, 30 s after (the end of docs/OPERATIONS.md)."""
    try:
        return client.select(folder, readonly=True)["uidvalidity"]
    except imap.ImapError as error:
        if DELETED not in str(error):
            raise
    client.select(folder)
    return client.select(folder, readonly=True)["uidvalidity"]


def mailbox_view(client, folder, bodies=True):
    """(UIDVALIDITY, {uid: row}), a row being flags, Message-ID, size, internal date, the digests of the
    whole message and of its text, the Message-ID again as the message itself has it."""
    validity = examine(client, folder)
    items = "(UID FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]%s)" % (
        " BODY.PEEK[]" if bodies else "")
    rows = {}
    for uid, v in (client.fetch("1:*", items) if client.exists else {}).items():
        if BODY not in v and bodies:
            raise util.Fail("%s/%s UID %d: no body" % (client.user, folder, uid))
        rows[uid] = (tuple(sorted(v.get("FLAGS", ()))), imap.header_id(v.get(HEAD)),
                     v.get("RFC822.SIZE"), v.get("INTERNALDATE"),
                     *(body_view(v[BODY]) if bodies else ("", "", None)))
    return validity, rows


def body_view(body):
    body = body if isinstance(body, bytes) else (body or "").encode()
    return imap.digest(body), mail.text_digest(body), imap.header_id(body)


def user_view(node, user, bodies=True):
    """Everything a client can see of a user: {"folders": {name: view}, "subscribed": [...]}"""
    with node.imap(user) as client:
        view = {"subscribed": client.list("LSUB"), "folders": {}}
        for folder in client.list():
            view["folders"][folder] = mailbox_view(client, folder, bodies)
        client.logout()
    return view


def view_difference(a, b):
    """What differs, in words; [] if nothing does."""
    out = []
    if a["subscribed"] != b["subscribed"]:
        out.append("subscribed: a %s, b %s" % (a["subscribed"], b["subscribed"]))
    for name in sorted(set(a["folders"]) | set(b["folders"])):
        if name not in a["folders"] or name not in b["folders"]:
            out.append("folder %s only on %s" % (name, "a" if name in a["folders"] else "b"))
            continue
        (va, ma), (vb, mb) = a["folders"][name], b["folders"][name]
        if va != vb:
            out.append("%s: UIDVALIDITY a %d, b %d" % (name, va, vb))
        for uid in sorted(set(ma) | set(mb)):
            if ma.get(uid) != mb.get(uid):
                out.append("%s UID %d:\n      a %s\n      b %s" % (name, uid, ma.get(uid), mb.get(uid)))
    return out


# --- on disk ----------------------------------------------------------------------------------


def parse_uidlist(path):
    """(validity, effective next UID, {uid: base name})"""
    with open(path, errors="replace") as f:
        head = f.readline().split()
        rows = {}
        for line in f:
            left, _, name = line.rstrip("\n").partition(" :")
            rows[int(left.split()[0])] = name.split(":")[0]
    fields = {w[0]: w[1:] for w in head[1:]}
    return int(fields["V"]), max([int(fields["N"])] + [u + 1 for u in rows]), rows


def uidlist_view(path):
    try:
        validity, following, rows = parse_uidlist(path)
    except (ValueError, KeyError, IndexError):
        return "broken uidlist"
    # records of messages long gone may be on one side only: rewritten there, not here
    names = {n.split(":")[0] for d in ("cur", "new")
             for n in os.listdir(os.path.join(os.path.dirname(path), d))}
    return "V%d N%d %s" % (validity, following,
                           sorted((u, n) for u, n in rows.items() if n in names))


def file_view(path, info):
    if stat.S_ISLNK(info.st_mode):
        return "link to " + os.readlink(path)
    if stat.S_ISDIR(info.st_mode):
        return "directory"
    if os.path.basename(path) == "dovecot-uidlist":
        return uidlist_view(path)
    with open(path, "rb") as f:
        content = f.read()
    if os.path.basename(path) == "subscriptions":   # a set: its order says nothing
        content = b"".join(sorted(content.splitlines(True)))
    content = hashlib.sha256(content).hexdigest()[:16]
    return "%s mode %o owner %d:%d" % (content, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def tree_view(node, user):
    """{path below the user's home: what it is}, without what is a node's own."""
    top, view = node.stored(user), {}
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(where, name)
            short = os.path.relpath(path, top)
            if LOCAL.search(short):
                continue
            try:
                view[short] = file_view(path, os.lstat(path))
            except FileNotFoundError:
                view[short] = "going away"
        dirs[:] = [d for d in dirs if not d.startswith("..DOVECOT-TRASHED")]
    return view


def tree_difference(a, b):
    return ["%s:\n      a %s\n      b %s" % (p, a.get(p), b.get(p))
            for p in sorted(set(a) | set(b)) if a.get(p) != b.get(p)]


def differences(pair, user, bodies=True, disk=True):
    views = [user_view(node, user, bodies) for node in pair.nodes]
    found = view_difference(*views)
    if not found and disk:
        found = tree_difference(*(tree_view(node, user) for node in pair.nodes))
    return found, views[0]


def wait_equal(pair, user, timeout=15, bodies=True, disk=True):
    """Wait until both nodes show the same of this user, and return what that is.

    Compared over IMAP: folders, subscriptions, UIDVALIDITY, UIDs, flags, dates, sizes,
    Message-IDs, bodies.  Compared on disk: every file but a node's own.
    """
    state = {}

    def equal():
        try:
            state["found"], state["view"] = differences(pair, user, bodies, disk)
        except (imap.ImapError, FileNotFoundError) as error:
            state["found"] = [str(error)]
        return not state["found"]

    def words():
        found = state["found"]
        more = "\n    (and %d more)" % (len(found) - 12) if len(found) > 12 else ""
        return "%s equal on both nodes:\n    %s%s" % (user, "\n    ".join(found[:12]), more)

    util.poll(words, equal, timeout)
    return state["view"]


def count_ids(view, folder=None):
    """How often each Message-ID occurs in a folder (None: in all of them)."""
    count = collections.Counter()
    for name, (_validity, rows) in view["folders"].items():
        if folder is None or name == folder:
            count.update(row[1] for row in rows.values())
    return count


def assert_no_duplicates(view, folder=None):
    """No message twice in one folder."""
    for name in view["folders"] if folder is None else [folder]:
        twice = [m for m, n in count_ids(view, name).items() if n > 1]
        if twice:
            raise util.Fail("%s: %d messages there more than once: %s" % (name, len(twice), twice[:5]))


def wait_has(node, user, ids, timeout=10):
    """Wait until the INBOX on that node has them: what a dead peer had only prepared comes last."""
    state = {}

    def there():
        state["missing"] = set(ids) - set(count_ids(user_view(node, user), "INBOX"))
        return not state["missing"]
    util.poll(lambda: "%s: %s has these of %d messages: %s" % (
        node.host, user, len(ids), sorted(state["missing"])[:5]), there, timeout)


def assert_has(view, ids, folder="INBOX", exactly=False):
    """Every one of these Message-IDs is in the folder (exactly: and nothing else)."""
    have = set(count_ids(view, folder))
    missing = set(ids) - have
    if missing:
        raise util.Fail("%s: %d of %d messages missing: %s" % (
            folder, len(missing), len(ids), sorted(missing)[:5]))
    if exactly and have - set(ids):
        raise util.Fail("%s: not expected: %s" % (folder, sorted(have - set(ids))[:5]))


def wait_alike(one, other, user, timeout=30):
    """A node's store and that of its standby hold the same of this user, once the link is up on both."""
    def different():
        return tree_difference(tree_view(one, user), tree_view(other, user))
    for node, end in ((one, other), (other, one)):
        node.wait_link(end)
    util.poll(lambda: "stores of %s alike: %s" % (user, different()), lambda: not different(), timeout)
