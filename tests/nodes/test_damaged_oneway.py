#!/usr/bin/env python3
"""Below the mount of a standby mailboxes are damaged while it is cut off from its source: when they meet again it has
what the source has, and the source what it had; also a source that is watched, where nothing can be written."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, damage, mail, util  # noqa: E402
from lab.util import content  # noqa: E402

EXTRA = "1700000000.M1P1.only-here"


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def append(path, line):
    with open(path, "a") as f:
        f.write(line)


def a_list(how):
    def do(home):
        path = os.path.join(home, "dovecot-uidlist")
        write(path, how(content(path)))
    return do


def no_list(home):
    os.unlink(os.path.join(home, "dovecot-uidlist"))


def flags(home):
    cur = os.path.join(home, "cur")
    for name in os.listdir(cur):
        os.rename(os.path.join(cur, name), os.path.join(cur, name.split(":")[0] + ":2,FT"))


def extra(home):
    cur = os.path.join(home, "cur")
    data = content(os.path.join(cur, sorted(os.listdir(cur))[0]))
    write(os.path.join(cur, EXTRA + ":2,Sf"), data)


def extra_numbered(home):
    """With a UID that the source gives to another."""
    extra(home)
    following = compare.parse_uidlist(os.path.join(home, "dovecot-uidlist"))[1]
    append(os.path.join(home, "dovecot-uidlist"), "%d :%s\n" % (following, EXTRA))


def lost(home):
    cur = os.path.join(home, "cur")
    os.unlink(os.path.join(cur, sorted(os.listdir(cur))[0]))


def all_of_it(home):
    flags(home)
    lost(home)
    extra(home)
    a_list(damage.renumbered)(home)


def texts(home):
    append(os.path.join(home, "dovecot-keywords"), "5 $Nobody\n")
    append(os.path.join(home, "subscriptions"), "Nowhere\n")
    for name in ("other.sieve", "rules.sieve"):
        write(os.path.join(home, name), b"discard;\n")


WHAT = {"": texts, "Renumbered": a_list(damage.renumbered), "Higher": a_list(damage.numbered_higher),
        "Second": a_list(damage.without_second), "Bit": a_list(damage.a_bit), "Broken": a_list(damage.broken),
        "Validity": a_list(damage.other_validity), "Next": a_list(damage.far_next), "NoList": no_list,
        "Flags": flags, "Extra": extra, "Numbered": extra_numbered, "All": all_of_it}


def place(folder):
    return "." + folder if folder else ""


def fill(t, user):
    with t.a.imap(user) as client:
        client.select()
        for folder in WHAT:
            if folder:
                client.create(folder)
                client.subscribe(folder)
            for n in range(4):
                client.append(folder or "INBOX", mail.message("nr %d" % n), "\\Seen")
        client.select("INBOX")
        client.store("2", "+FLAGS", "$Work")
        client.logout()
    for folder in WHAT:     # where nothing but this differs
        write(t.a.home(user, "Maildir", place(folder), "rules.sieve"), b"keep;\n")
    compare.wait_alike(t.a, t.b, user)


def left(view):
    """Without what stays on the standby as it is there, till somebody has it repaired."""
    return {k: v for k, v in view.items()
            if EXTRA not in k and k not in ("Maildir/other.sieve", "Maildir/rules.sieve")}


def differences(t, user):
    return compare.tree_difference(left(compare.tree_view(t.a, user)), left(compare.tree_view(t.b, user)))


def wait_same(t, user):
    t.a.wait_link(t.b, timeout=40)
    t.b.wait_link(t.a)
    util.poll(lambda: "stores of %s alike: %s" % (user, differences(t, user)), lambda: not differences(t, user), 20)


def work(t, user):
    """At the source, in each mailbox: so each is to be merged."""
    with t.a.imap(user) as client:
        client.select()
        for folder in WHAT:
            client.append(folder or "INBOX", mail.message("while apart"), "\\Seen")
            client.select(folder or "INBOX")
            client.store("3", "+FLAGS", "\\Answered")
        client.logout()


def story(t, user):
    fill(t, user)
    t.pair.cut_link(silent=False)
    t.a.wait_link(t.b, "alone")
    t.b.wait_link(t.a, "alone")
    for folder, how in WHAT.items():
        how(t.b.stored(user, "Maildir", place(folder)))
    work(t, user)
    stored, seen = compare.tree_view(t.a, user), compare.user_view(t.a, user)
    t.pair.heal_link()
    wait_same(t, user)
    t.equal(compare.tree_difference(stored, compare.tree_view(t.a, user))[:6], [], "the source's store")
    t.equal(compare.view_difference(seen, compare.user_view(t.a, user)), [], "what its clients see")
    here = {f for f in WHAT if any(EXTRA in n for n in os.listdir(t.b.stored(user, "Maildir", place(f), "cur")))}
    t.equal(here, {"Extra", "Numbered", "All"}, "where the standby has what only it has")
    work(t, user)
    wait_same(t, user)
    done = t.b.mailfs.ctl("verify", check=False)
    t.equal(sum(user in line and EXTRA in line for line in done.stdout.splitlines()), 3,
            "verify names what only the standby has: %s%s" % (done.stdout, done.stderr))
    t.check("rules.sieve" in done.stdout, "verify names a file that is another: %s", done.stdout)
    t.b.mailfs.ctl("verify", "--repair", check=False)
    t.equal(content(t.b.stored(user, "Maildir", "rules.sieve")), b"keep;\n", "a file that was repaired")


def test(t):
    t.needs_mailfs()
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.a.start()
    t.b.start()
    t.a.wait_link(t.b)
    story(t, "served")
    t.a.stop("dovecot", "mailfs", "syncd")
    t.a.mount = t.a.store               # Dovecot works in the store itself
    t.a.dovecot.prepare()
    t.a.mailfs.write(mode="watch", links=[("standby", t.b)])
    t.a.start("dovecot", "syncd")
    t.a.wait_link(t.b, timeout=40)
    story(t, "watched")


case.main(test, own=True, postfix=False, start=False, seconds=180, timeout=2)
