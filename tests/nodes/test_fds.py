#!/usr/bin/env python3
"""No descriptor is left, for mailfs and then for syncd of node a: refused for now, and well again by itself."""

import os
import resource
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, crowd, mail, util  # noqa: E402

TIMEOUT = 3
COUNT = 30


def deliveries(t, users):
    """Mail for all at both nodes; the Message-IDs taken at each, and how many were refused."""
    taken, refused = {user: [] for user in users}, 0
    for node in t.pair.nodes:
        for user in users:
            start = util.now()
            try:
                text = mail.message("no descriptor")
                reply = node.lmtp(user, text)[0]
            except util.Fail as error:
                reply = "4 " + str(error)
            t.check(reply[0] in "24", "%s: %s", node.host, reply)
            t.check(util.now() - start < TIMEOUT + 3, "%s waited %.1f s", node.host, util.now() - start)
            if reply.startswith("250"):
                taken[user].append(mail.message_id(text))
            refused += reply[0] == "4"
    return taken, refused


def processes(t, name):
    """Of that daemon: mailfs has several."""
    found = []
    for pid in t.a.space.pids():
        with open("/proc/%d/comm" % pid) as f:
            if f.read().strip() == name:
                found.append(pid)
    return found


def lowest_free(pid):
    """The number that the next one it opens would have."""
    used = {int(fd) for fd in os.listdir("/proc/%d/fd" % pid)}
    return next(n for n in range(len(used) + 1) if n not in used)


def starve(t, name, users):
    """None but those they have open now."""
    pid, log = t.a.daemon(name).running(), t.a.log(name)
    since = os.path.getsize(log)
    before = {p: resource.prlimit(p, resource.RLIMIT_NOFILE)
              for p in processes(t, {"syncd": "mailfs-syncd"}.get(name, name))}
    t.check(pid in before, "%s is not among %s", pid, sorted(before))
    for p, limit in before.items():
        resource.prlimit(p, resource.RLIMIT_NOFILE, (lowest_free(p), limit[1]))
    if name == "mailfs":    # its holder looks whether the worker lives, and cannot open anything
        os.kill(pid, signal.SIGUSR1)
    try:
        taken, refused = deliveries(t, users)
        status = t.a.status() or {}
    finally:
        for p, limit in before.items():
            resource.prlimit(p, resource.RLIMIT_NOFILE, limit)
    said = [line for line in util.tail(log, since) if "Too many open files" in line]
    # mailfs tells who asks it, by the error of the call; syncd, which nobody asks, says it in its log
    t.check(refused if name == "mailfs" else said, "%s was not short of descriptors: nothing was refused, or said",
            name)
    t.figure("%s: %d refused; %s", name, refused, said[-1:] or status.get("last_error") or status.get("notes"))
    t.equal(t.a.daemon(name).running(), pid, "pid of " + name)
    return taken


def test(t):
    t.needs_mailfs()
    t.forgive(r"Too many open files|Resource temporarily unavailable")
    users, fresh = crowd.users(COUNT, "fds"), crowd.users(COUNT, "fdsnew")
    sent = crowd.everyone(t.a, users, "before")
    crowd.disk_equal(t, users)
    want = {user: [sent[user]] for user in users}
    want.update({user: [] for user in fresh})
    for name in ("mailfs", "syncd"):
        for user, ids in starve(t, name, users + fresh).items():
            want[user] += ids
    t.pair.wait_in_sync(timeout=40)
    for user in users + fresh:
        # the first one for a user that was refused everywhere
        want[user].append(t.a.deliver(user, mail.message("after")))
    for user in (users + fresh)[::7]:
        compare.assert_has(t.wait_equal(user), want[user])
    crowd.disk_equal(t, users + fresh)
    for user in users + fresh:
        with t.b.imap(user) as client:
            client.select()
            t.check(set(want[user]) <= set(client.ids().values()), "%s has lost mail", user)


case.main(test, own=True, postfix=False, seconds=120)
