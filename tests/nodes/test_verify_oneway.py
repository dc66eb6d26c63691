#!/usr/bin/env python3
"""Damage is found without a peer: between a server and its standby, from either, with the standby never
changing a source that is sound, and put back to what that has; at a server that is watched; and at one that
has no other node."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402
from lab.util import content, flip  # noqa: E402

CLEAN = (0, set())


def verify(node, *args):
    """(exit code, problems as {(node, mailbox, base name, fate)})"""
    done = node.mailfs.ctl("verify", "--json", *args, check=False)
    if not done.stdout:
        raise util.Fail("%s: verify says %s" % (node.host, done.stderr))
    return done.returncode, {(p["node"], p["mailbox"], (p["name"] or "").split(":")[0], p["fate"])
                             for p in json.loads(done.stdout)["list"]}


def message_of(node, user, number=0):
    """Path of one message in the store, and its base name."""
    for sub in ("cur", "new"):
        top = os.path.join(node.store, user, "Maildir", sub)
        names = sorted(os.listdir(top))
        if len(names) > number:
            return os.path.join(top, names[number]), names[number].split(":")[0]
    raise util.Fail("%s: %s has no %d messages" % (node.host, user, number + 1))


def differences(t, user):
    a, b = compare.tree_view(t.a, user), compare.tree_view(t.b, user)
    return {k: (a.get(k), b.get(k)) for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)}


def same_stores(t, user):
    t.a.wait_link(t.b)
    t.b.wait_link(t.a)
    util.poll(lambda: "stores of %s alike: %s" % (user, differences(t, user)),
              lambda: not differences(t, user), 20)


def flipped(t, user, bad, asked):
    """On either, its own checksum says that it is bad: it is taken from the other."""
    path, base = message_of(bad, user)
    inbox, good = user + "/Maildir", content(path)
    flip(path)
    t.equal(verify(asked, inbox), CLEAN, "a look that reads no contents")
    t.equal(verify(asked, "--content"), (1, {(bad.host, inbox, base, "found")}), "a flipped bit on " + bad.host)
    t.check(content(path) != good, "it was repaired without being told to")
    t.equal(verify(asked, "--content", "--repair"), (0, {(bad.host, inbox, base, "repaired")}), "its repair")
    t.equal(content(path), good, "what was repaired")
    t.equal(verify(asked, "--content"), CLEAN, "after the repair")


def lost_on_the_standby(t, user):
    """What it lacks it gets; what only it has is said, and stays, and nothing goes to the source."""
    inbox = user + "/Maildir"
    path, base = message_of(t.b, user)
    good, extra = content(path), os.path.join(os.path.dirname(path), "1700000000.M1P1.only-here:2,S")
    os.unlink(path)
    with open(extra, "wb") as f:
        f.write(good)
    before = compare.tree_view(t.a, user)
    only = os.path.basename(extra).split(":")[0]
    t.equal(verify(t.a, "--repair"), (1, {(t.b.host, inbox, base, "repaired"), (t.b.host, inbox, only, "found")}),
            "its repair")
    t.equal(content(path), good, "what came back")
    t.check(os.path.exists(extra), "what only the standby has is gone")
    t.equal(compare.tree_view(t.a, user), before, "the source")
    os.unlink(extra)
    same_stores(t, user)


def renumbered(text):
    head, *lines = text.decode().splitlines(True)
    uids = [line.split(" ", 1)[0] for line in lines]
    return (head + "".join(u + " " + line.split(" ", 1)[1] for u, line in
                           zip(uids, lines[1:] + lines[:1]))).encode()


def without_second(text):
    lines = text.splitlines(True)
    return b"".join(lines[:2] + lines[3:])


def broken(text):
    """One bit, and no line can be told for what it is: Dovecot throws such a list away."""
    return text[:1].replace(b"3", b"2") + text[1:]


def a_bit(text):
    last = text.rstrip(b"\n").rfind(b"\n") + 1
    return text[:last] + bytes([text[last] ^ 1]) + text[last + 1:]


DAMAGE = {"": renumbered, ".One": without_second, ".Two": a_bit, ".Three": broken}


def fill(t, user):
    with t.a.imap(user) as client:
        client.select()
        for folder in ("One", "Two", "Three", "INBOX"):
            if folder != "INBOX":
                client.create(folder)
                client.subscribe(folder)
            for n in range(4):
                client.append(folder, mail.message("nr %d in %s" % (n, folder)), "\\Seen")
        client.select("INBOX")
        client.store("2", "+FLAGS", "$Work")
        client.logout()
    same_stores(t, user)


def put_back(t, user, asked):
    """Lists, flags, keywords, subscriptions: found on the standby, and put back to what the source has."""
    home, want = t.b.stored(user, "Maildir"), set()
    before = compare.tree_view(t.a, user)
    for folder, damage in DAMAGE.items():
        path = os.path.join(home, folder, "dovecot-uidlist")
        text = content(path)
        t.check(damage(text) != text, "%s: nothing changed in %r", folder, text)
        with open(path, "wb") as f:
            f.write(damage(text))
        want.add(os.path.join(user, "Maildir", folder).rstrip("/"))
    path, _base = message_of(t.b, user, 1)
    os.rename(path, path.split(":")[0] + ":2,FT")
    for name, line in (("dovecot-keywords", "5 $Nobody\n"), ("subscriptions", "Nowhere\n")):
        with open(os.path.join(home, name), "a") as f:
            f.write(line)
    code, found = verify(asked)
    t.equal((code, {f[1] for f in found}, {f[0] for f in found}), (1, want, {t.b.host}), "found: %s" % found)
    code, found = verify(asked, "--repair")
    t.equal((code, {f[1] for f in found}, {f[3] for f in found}), (0, want, {"repaired"}), "repaired: %s" % found)
    t.equal(differences(t, user), {}, "after the repair")
    t.equal(compare.tree_view(t.a, user), before, "the source")
    t.equal(verify(asked), CLEAN, "after the repair")
    kept = [n for _w, _d, names in os.walk(os.path.join(t.b.store, ".mailfs", "undo")) for n in names]
    t.check(kept.count(".damaged-dovecot-uidlist") == len(DAMAGE), "bad lists kept: %s", kept)


def lost_on_the_source(t, user):
    """Somebody has removed it there below the mount: the standby says so, and does not put it back."""
    inbox = user + "/Maildir"
    path, base = message_of(t.a, user)
    good, stat = content(path), os.stat(path)
    os.unlink(path)
    t.equal(verify(t.b, "--repair"), (1, {(t.a.host, inbox, base, "found")}), "a message that is missing on mx-a")
    t.check(not os.path.exists(path), "the standby has put it back")
    with open(path, "wb") as f:     # by hand, with another checksum
        f.write(good)
    os.chown(path, stat.st_uid, stat.st_gid)
    os.chmod(path, 0o600)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    t.equal(verify(t.b, "--content")[0], 0, "put back by hand")


def by_itself(t, user):
    """The standby does it, in the background."""
    path, _base = message_of(t.b, user, 1)
    flip(path)
    t.b.stop("syncd")
    t.b.mailfs.verify = "2s"
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.b.start("syncd")

    def done():
        last = (t.b.status() or {}).get("verified") or {}
        return last.get("problems") == 1 and last["content"]
    util.poll(lambda: "verified: %s" % (t.b.status() or {}).get("verified"), done, 30)
    flip(path)
    t.b.stop("syncd")
    t.b.mailfs.verify = "1d"
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.b.start("syncd")
    same_stores(t, user)


def watched(t, user):
    """A server whose store is watched is not written to at all; its standby is repaired from it."""
    t.a.stop("dovecot", "mailfs", "syncd")
    t.a.mailfs.write(mode="watch", links=[("standby", t.b)])
    t.a.start("syncd")
    same_stores(t, user)
    flipped(t, user, t.b, t.a)
    put_back(t, "listed", t.b)
    path, base = message_of(t.a, user)
    inbox, good = user + "/Maildir", content(path)
    flip(path)
    bad = content(path)
    t.equal(verify(t.b, "--content", "--repair"), (1, {(t.a.host, inbox, base, "found")}), "a flipped bit, watched")
    t.equal(content(path), bad, "a store that is watched")
    flip(path)
    t.equal(content(path), good, "flipped back")
    t.equal(verify(t.b, "--content"), CLEAN, "flipped back")


def alone(t, user):
    """Without any other node its own checksums tell."""
    t.a.stop("syncd")
    t.b.stop("dovecot", "mailfs", "syncd")
    t.a.mailfs.write(peer=None)
    t.a.start("syncd", "mailfs", "dovecot")
    t.a.wait_state("no-peer")
    new = t.a.deliver(user, mail.message("never left this node"))
    done = t.a.mailfs.ctl("verify", check=False)
    t.check(done.returncode == 1 and "--content" in done.stderr, "verify without --content: %s", done.stderr)
    done = t.a.mailfs.ctl("verify", "--content", check=False)
    t.check(done.returncode == 0 and "1 message had no checksum" in done.stdout
            and "nothing to be compared with" in done.stdout, "verify --content: %s%s", done.stdout, done.stderr)
    t.check(new, "delivered")
    path, base = message_of(t.a, user)
    flip(path)
    want = (1, {(t.a.host, user + "/Maildir", base, "found")})
    t.equal(verify(t.a, "--content"), want, "a flipped bit, no other node")
    t.equal(verify(t.a, "--content", user + "/Maildir"), want, "the same, of one mailbox")
    done = t.a.mailfs.ctl("verify", "--content", "--repair", check=False)
    t.check(done.returncode == 1 and "nothing to repair it from" in done.stderr, "repair: %s", done.stderr)
    done = t.a.mailfs.ctl("verify", "--content", "nobody/Maildir", check=False)
    t.check(done.returncode == 1 and "no such mailbox" in done.stderr, "unknown mailbox: %s", done.stderr)
    flip(path)
    t.equal(verify(t.a, "--content"), CLEAN, "flipped back")
    last = (t.a.status() or {}).get("verified") or {}
    t.check(last.get("content") and last["problems"] == 0, "status: %s", last)


def test(t):
    t.needs_mailfs()
    t.forgive("Corrupted|reappeared|Broken file|Expunged message|Duplicate file entry")
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.a.start()
    t.b.start()
    t.a.wait_link(t.b)
    user = "checked"
    for n in range(4):
        t.a.deliver(user, mail.message("nr %d" % n))
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1:*", "+FLAGS", "\\Seen")
        client.logout()
    fill(t, "listed")
    same_stores(t, user)
    t.equal(verify(t.a), CLEAN, "equal ones")
    t.equal(verify(t.b, "--content"), CLEAN, "contents of equal ones")
    flipped(t, user, t.b, t.a)
    flipped(t, user, t.a, t.b)
    flipped(t, user, t.b, t.b)
    lost_on_the_standby(t, user)
    put_back(t, "listed", t.a)
    lost_on_the_source(t, user)
    by_itself(t, user)
    watched(t, user)
    alone(t, user)


case.main(test, own=True, postfix=False, start=False, seconds=180, timeout=2)
