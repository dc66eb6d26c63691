#!/usr/bin/env python3
"""Damage below the mount is found, named and repaired, on whichever node it is and wherever one
asks; what is equal costs next to nothing to compare; what is damaged is not sent."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402
from lab.util import content, flip  # noqa: E402

MAILBOXES = 40


def verify(node, *args, check=False):
    """(exit code, problems as {(node, mailbox, base name, fate)}, stderr)"""
    done = node.mailfs.ctl("verify", "--json", *args, check=check)
    found = json.loads(done.stdout)["list"] if done.stdout else []
    return done.returncode, {(p["node"], p["mailbox"], (p["name"] or "").split(":")[0], p["fate"])
                             for p in found}, done.stderr


def message_of(node, user, folder=""):
    """Path of one message in the store, and its base name."""
    cur = node.stored(user, "Maildir", folder, "cur")
    name = sorted(os.listdir(cur))[0]
    return os.path.join(cur, name), name.split(":")[0]


def damaged_copies(node):
    return [os.path.join(where, n) for where, _d, names in
            os.walk(os.path.join(node.store, ".mailfs", "undo")) for n in names if n.startswith(".damaged-")]


def fill(t, user, folder):
    with t.a.imap(user) as client:
        client.select()
        for n in range(5):
            client.append("INBOX", mail.message("nr %d" % n), "\\Seen")
        client.append(folder, mail.message("work"), "\\Seen")
    with open(t.a.home(user, "Maildir", "notes.sieve"), "w") as f:
        f.write("keep;\n")
    os.chown(t.a.home(user, "Maildir", "notes.sieve"), 5000, 5000)
    t.pair.wait_path(t.b, user, "Maildir", "notes.sieve")
    return t.wait_equal(user)


def received(node):
    links = json.loads(node.run("ip", "-j", "-s", "link", "show", "eth0").stdout)
    return links[0]["stats64"]["rx"]["bytes"] + links[0]["stats64"]["tx"]["bytes"]


def equal_pair(t, user):
    """What comparing costs, per mailbox, beside what the idle link costs anyway."""
    with t.a.imap(user) as client:
        for n in range(MAILBOXES):
            client.create("F%d" % n)
    t.wait_equal(user)
    t.equal(verify(t.a), (0, set(), ""), "an equal pair")
    idle, rx = util.now(), received(t.b)
    util.poll("a second of nothing", lambda: util.now() - idle > 1)
    per_second = (received(t.b) - rx) / (util.now() - idle)
    start, rx = util.now(), received(t.b)
    t.equal(verify(t.a), (0, set(), ""), "an equal pair")
    cost = received(t.b) - rx - per_second * (util.now() - start)
    t.figure("%.1f bytes for each of %d mailboxes", cost / MAILBOXES, MAILBOXES)
    t.check(cost / MAILBOXES < 40, "%d bytes for %d mailboxes", cost, MAILBOXES)
    t.equal(verify(t.b, "--content"), (0, set(), ""), "contents of an equal pair")


def flipped(t, user, bad, asked):
    """A bit of a message on `bad`, found and repaired from `asked`."""
    path, base = message_of(bad, user)
    inbox, good = "%s/Maildir" % user, content(path)
    flip(path)
    t.equal(verify(asked, inbox), (0, set(), ""), "a look that reads no contents")
    want = {(bad.host, inbox, base, "found")}
    t.equal(verify(asked, "--content")[:2], (1, want), "a flipped bit")
    t.check(content(path) != good, "it was repaired without being told to")
    want = {(bad.host, inbox, base, "repaired")}
    before = len(damaged_copies(bad))
    t.equal(verify(asked, "--content", "--repair", inbox)[:2], (0, want), "its repair")
    t.equal(content(path), good, "what was repaired")
    kept = damaged_copies(bad)
    t.check(len(kept) == before + 1, "the bad copy: %s", kept)
    t.equal(verify(asked, "--content"), (0, set(), ""), "after the repair")
    with bad.imap(user, mailbox="INBOX") as client:
        client.fetch("1:*", "(UID FLAGS BODY.PEEK[])")


def lost(t, user):
    """A message, a file that is no mail, and a UID: damaged below the mount of b, at once."""
    inbox, work = "%s/Maildir" % user, "%s/Maildir/.Work" % user
    path, base = message_of(t.b, user, ".Work")
    sieve = t.b.stored(user, "Maildir", "notes.sieve")
    good, script, text = content(path), content(sieve), content(t.b.stored(inbox, "dovecot-uidlist"))
    os.unlink(path)
    with open(sieve, "ab") as f:
        f.write(b"discard;\n")
    last = text.rstrip(b"\n").rfind(b"\n") + 1      # the record of the last message: its UID
    flip(t.b.stored(inbox, "dovecot-uidlist"), last)
    t.check(content(t.b.stored(inbox, "dovecot-uidlist")) != text, "nothing flipped in %r", text)
    code, found, _err = verify(t.a)
    t.check(code == 1 and {(t.b.host, work, base, "found"), (t.b.host, inbox, "notes.sieve", "found")} < found
            and all(f[0] == t.b.host for f in found), "damage on b: %s", found)
    code, found, _err = verify(t.a, "--repair")
    t.check(code == 0 and {(t.b.host, work, base, "repaired"), (t.b.host, inbox, "notes.sieve", "repaired")}
            < found and any(f[1] == inbox and f[3] == "merged" for f in found), "its repair: %s", found)
    t.equal((content(path), content(sieve)), (good, script), "what came back")
    t.pair.wait_in_sync()
    t.wait_equal(user)
    util.poll(lambda: "still: %s" % (verify(t.a),), lambda: verify(t.a)[:2] == (0, set()), 20)
    t.equal({os.path.basename(p).split("-")[-1] for p in damaged_copies(t.b)} >= {"uidlist", "notes.sieve"}, True,
            "bad copies kept: %s" % damaged_copies(t.b))


def not_sent(t, user):
    """What is damaged does not go to a node that lacks it, and holds up nothing else; mended, it does."""
    t.b.stop("dovecot", "mailfs", "syncd")
    t.a.wait_state("alone")
    path, base = message_of(t.a, user, ".Work")
    flip(path)
    there = os.path.join(t.b.stored(user, "Maildir", ".Work", "cur"), os.path.basename(path))
    os.unlink(there)
    for where in (t.b.mailfs.state,):
        util.run(["find", os.path.join(where, "base"), os.path.join(where, "marks"), "-mindepth", "1", "-delete"])
    t.b.start("syncd", "mailfs", "dovecot")
    util.poll(lambda: "a does not complain: %s" % t.a.status(),
              lambda: base in ((t.a.status() or {}).get("last_error") or ""))
    t.pair.wait_in_sync(timeout=30)
    t.check(not os.path.exists(there), "a damaged message was sent")
    flip(path)      # mended by hand
    t.pair.cut_link(silent=False)   # it is tried at each contact
    t.a.wait_state("alone")
    t.pair.heal_link()
    t.pair.wait_path(t.b, user, "Maildir", ".Work", "cur", os.path.basename(path))
    t.pair.wait_in_sync(timeout=30)
    t.equal(content(there), content(path), "what came then")


def refused(t, user):
    code, _found, err = verify(t.a, "nobody/Maildir")
    t.check(code == 1 and "nobody/Maildir: no such mailbox" in err, "unknown mailbox: %s", err)
    t.pair.cut_link(silent=False)
    t.a.wait_state("alone")
    code, _found, err = verify(t.a)
    t.check(code == 1 and "not in sync (alone)" in err, "alone: %s", err)
    t.pair.heal_link()
    t.pair.wait_in_sync()


def by_itself(t, user):
    """In the background, on the node whose name sorts first; the result outlives syncd."""
    path, _base = message_of(t.b, user)
    flip(path)
    t.a.stop("syncd")
    t.a.mailfs.verify = "2s"
    t.pair.configure()
    t.a.start("syncd")
    last = {}

    def done():
        last.update((t.a.status() or {}).get("verified") or {})
        return last.get("problems") == 1 and last["content"]
    util.poll(lambda: "verified: %s" % last, done, 20)
    t.check("does not fit" not in str(t.a.status()) and "1 problems" in t.a.mailfs.ctl("status").stdout,
            "status says: %s", t.a.mailfs.ctl("status").stdout)
    t.a.stop("syncd")
    t.a.mailfs.verify = "1d"
    t.pair.configure()
    t.a.start("syncd")
    again = ((t.a.status() or {}).get("verified") or {})
    t.check(again.get("at", 0) >= last["at"] and again["problems"] == 1, "after a restart: %s", again)


def test(t):
    t.needs_mailfs()
    t.forgive("Corrupted|reappeared|Broken file|UIDVALIDITY changed|Duplicate file entry")
    user = t.pair.user("verify", ("Work",))
    fill(t, user, "Work")
    equal_pair(t, user)
    flipped(t, user, t.a, t.b)
    flipped(t, user, t.b, t.b)
    lost(t, user)
    refused(t, user)
    not_sent(t, user)
    by_itself(t, user)


case.main(test, own=True, postfix=False, timeout=2)
