#!/usr/bin/env python3
"""A warm standby: it follows, nobody writes to it, it is promoted, and the old node follows it then."""

import errno
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, outage, util  # noqa: E402


def bring_up(t):
    t.a.mailfs.link_commit = "disk"
    t.a.mailfs.write(links=[("standby", t.b)])
    t.b.mailfs.write(mode="standby", links=[("source", t.a)])
    t.a.start()
    t.b.start()
    in_sync(t)


def in_sync(t):
    t.a.wait_link(t.b)
    t.b.wait_link(t.a)


def same_stores(t, user):
    in_sync(t)
    util.poll(lambda: "stores of %s alike: %s" % (user, differences(t, user)),
              lambda: not differences(t, user), 15)


def differences(t, user):
    a, b = compare.tree_view(t.a, user), compare.tree_view(t.b, user)
    return {k: (a.get(k), b.get(k)) for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)}


def work(t, user):
    """All kinds of changes on a."""
    for _ in range(10):
        t.a.deliver(user, mail.message(size=2000))
    with t.a.imap(user) as client:
        client.create("Sent")
        client.subscribe("Sent")
        client.select()
        client.store("1:3", "+FLAGS", "\\Seen")
        client.store("2", "+FLAGS", "$Work")
        client.copy("3", "Sent")
        client.store("4", "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()


def nobody_writes(t, user):
    path = t.b.home(user, "Maildir", "tmp", "x")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        raise util.Fail("a file could be made on the standby")
    except OSError as error:
        t.equal(error.errno, errno.EROFS, "making a file on the standby")
    try:
        os.rename(t.b.home(user, "Maildir", "cur"), t.b.home(user, "Maildir", "cur2"))
        raise util.Fail("a directory could be renamed on the standby")
    except OSError as error:
        t.equal(error.errno, errno.EROFS, "renaming on the standby")
    answer = t.b.lmtp(user, mail.message())[0]
    t.check(answer.startswith("4"), "delivery to the standby: %s", answer)
    # it can be read, with the same UIDs
    a, b = compare.user_view(t.a, user), compare.user_view(t.b, user)
    t.equal(compare.view_difference(a, b), [], "what clients of both nodes see")


def has(t, user, message, folder=""):
    """Is it on the standby's disk?"""
    top = os.path.join(t.b.store, user, "Maildir", folder)
    for sub in ("new", "cur"):
        for name in os.listdir(os.path.join(top, sub)):
            with open(os.path.join(top, sub, name), "rb") as f:
                if message.encode() in f.read():
                    return True
    return False


def waits(t, user):
    """With commit = disk what is acknowledged is on the standby; one that is stuck is waited for once."""
    took = []
    for _ in range(20):
        start = util.now()
        message = t.a.deliver(user, mail.message(size=2000))
        took.append(util.now() - start)
        t.check(has(t, user, message), "acknowledged, and the standby does not have it")
    t.figure("a delivery that waits for the standby: %.1f ms", sorted(took)[len(took) // 2] * 1000)
    t.b.daemon("syncd").kill(signal.SIGSTOP, wait=False)
    start = util.now()
    t.a.deliver(user, mail.message())
    stuck = util.now() - start
    start = util.now()
    t.a.deliver(user, mail.message())
    t.equal(t.a.link(t.b)["state"], "alone", "a standby that is stuck")
    t.check(stuck < t.pair.options["timeout"] * 2 + 2, "waited %.1f s for it", stuck)
    t.check(util.now() - start < stuck / 2, "waited %.1f s, and then %.1f s once more", stuck, util.now() - start)
    t.b.daemon("syncd").kill(signal.SIGCONT, wait=False)
    same_stores(t, user)


def unmerged(node, user):
    return any("/%s/Maildir: the merge with " % user in line and "has failed three times in a row: " in line
               for line in util.tail(node.log("syncd"), 0, 100000))


def cannot_have_one(t, user, other):
    """A mailbox that the standby's disk does not take is not waited for, while it takes all others."""
    new = os.path.join(t.b.store, user, "Maildir", "new")
    away = os.path.join(t.b.dir, "new.away")    # a directory in the store would be a node's as any other
    os.rename(new, away)
    with open(new, "w"):
        pass
    stop = threading.Event()

    def others():
        while not stop.is_set():
            t.a.deliver(other, mail.message())
            stop.wait(0.2)
    thread = util.Thread(others)
    try:
        start = util.now()
        t.a.deliver(user, mail.message(), timeout=100)
        took = util.now() - start
        for node in t.pair.nodes:
            util.poll("%s says which mailbox cannot be merged" % node.host, lambda n=node: unmerged(n, user), 30)
    finally:
        stop.set()
        thread.join()
        os.unlink(new)
        os.rename(away, new)
    t.figure("one whose mailbox the standby cannot have: %.1f s", took)
    t.check(took < 15, "waited %.1f s for a standby that cannot have it", took)
    for each in (user, other):
        same_stores(t, each)


def connections(t):
    with open(t.a.log("syncd")) as f:
        return f.read().count("connected with mx-b")


def directories(t, user):
    """They come as they are made, moved and removed, without a new connection, and with what is in them."""
    before = connections(t)
    with t.a.imap(user, mailbox="INBOX") as client:
        client.create("New")
        text = mail.message("in a new folder")
        client.append("New", text)
        t.check(has(t, user, mail.message_id(text), ".New"), "appended, and the standby does not have it")
        client.create("New.Below")
        client.rename("New", "Renamed")
        same_stores(t, user)
        t.check(has(t, user, mail.message_id(text), ".Renamed"), "the folder was not moved on the standby")
        client.select("INBOX")
        client.delete("Renamed")
        client.delete("Renamed.Below")
        client.logout()
    same_stores(t, user)
    t.check(not os.path.exists(os.path.join(t.b.store, user, "Maildir", ".Renamed.Below")), "a removed folder is there")
    t.equal(connections(t), before, "connections")


def lag(t, user):
    """The standby says how far it is behind."""
    t.pair.cut_link()
    t.a.wait_link(t.b, "alone", timeout=15)
    for _ in range(5):
        t.a.deliver(user, mail.message("while the link is cut"))
    with t.a.imap(user, mailbox="INBOX") as client:
        client.store("1", "+FLAGS", "\\Flagged")
        client.create("Made")
        client.logout()
    util.poll("a says that the standby is behind", lambda: t.a.link(t.b)["lag_seconds"] > 0, 10)
    t.pair.heal_link()
    same_stores(t, user)
    t.equal(t.a.link(t.b)["lag_seconds"], 0, "lag")


def promotion(t, users):
    done = t.b.mailfs.ctl("promote", check=False)
    t.equal(done.returncode, 1, "promote while the source is there")
    t.check("connected and active" in done.stderr, "promote says %s", done.stderr)
    before = {u: compare.user_view(t.a, u, bodies=False) for u in users}
    run = outage.Deliveries(t.a, users)
    run.wait_count(40)
    t.a.crash(silent=True)
    acked = run.end()
    t.b.wait_link(t.a, "alone", timeout=15)
    break_uidlist(t, "spoilt")
    done = t.b.mailfs.ctl("promote")
    t.check("active" in done.stdout, "promote says %s", done.stdout)
    t.equal(t.b.status()["role"], "active", "role of b")
    late = {u: t.b.deliver(u, mail.message("to the promoted")) for u in users}
    return before, acked, late


def break_uidlist(t, user):
    """One file that the standby's disk has spoilt must not stand in the way of all users."""
    with open(os.path.join(t.b.store, user, "Maildir", "dovecot-uidlist"), "w") as f:
        f.write("3 V1700000000 N9\n2 :a\n1 :b\n")


def fail_back(t, users, before, acked, late):
    t.a.revive()
    util.poll("a is a standby", lambda: (t.a.status() or {}).get("role") == "standby", 20)
    for user in users:
        same_stores(t, user)
        view = compare.user_view(t.b, user, bodies=False)
        compare.assert_has(view, acked[user] + [late[user]])
        # what a client saw before names the same message now
        for folder, (validity, rows) in before[user]["folders"].items():
            now_validity, now = view["folders"][folder]
            t.equal(now_validity, validity, "UIDVALIDITY of " + folder)
            for uid, row in rows.items():
                t.check(uid not in now or now[uid][1] == row[1], "%s UID %d is another message",
                        folder, uid)
    t.figure("%d answered by the old node, none missing", sum(map(len, acked.values())))
    user = users[0]
    t.equal(t.a.lmtp(user, mail.message())[0][0], "4", "delivery at the old node")
    t.b.deliver(user, mail.message("and it goes on"))
    same_stores(t, user)


def back_by_force(t, user):
    """While the active node is connected: it follows, and each knows what the other is."""
    done = t.a.mailfs.ctl("promote", "--force")
    t.check("active" in done.stdout, "promote --force says %s", done.stdout)
    util.poll("b is a standby", lambda: (t.b.status() or {}).get("role") == "standby", 20)
    in_sync(t)
    t.equal([t.a.link(t.b)["role"], t.b.link(t.a)["role"]], ["standby", "active"], "roles at the other end")
    t.a.deliver(user, mail.message("to the first one again"))
    same_stores(t, user)


def test(t):
    t.needs_mailfs()
    t.forgive(r"killed with signal 9")      # of a crash of all processes, one after the other
    bring_up(t)
    users = ["standby-%d" % i for i in range(3)]
    for user in users:
        work(t, user)
        same_stores(t, user)
    nobody_writes(t, users[0])
    work(t, "spoilt")
    same_stores(t, "spoilt")
    directories(t, users[0])
    waits(t, users[0])
    cannot_have_one(t, users[1], users[2])
    lag(t, users[1])
    fail_back(t, users, *promotion(t, users))
    back_by_force(t, users[0])
    for node in t.pair.nodes:           # the link's state and the volume's are of one store
        t.check(not any("does not belong to this store" in line for line in
                        util.tail(node.log("syncd"), 0, 100000)), "%s: a state was forgotten", node.host)


case.main(test, own=True, seconds=150, start=False)
