"""What is done to the nodes, and how they are made whole again.

A fault is a function (lab, nodes, random) that does it to these nodes and returns.  heal() ends all of
them: as an administrator would, or systemd, it starts what does not run.
"""

import os
import signal

from lab import alone, util


class Kind:
    def __init__(self, function, cuts, parts, both):
        self.function, self.cuts, self.parts, self.both = function, cuts, parts, both
        self.name = function.__name__.replace("_", "-")


KINDS = {}


def kind(cuts=False, parts=False, both=True):
    """cuts: a delivery under way at that node may be cut off and tried again; parts: the nodes may lose
    sight of each other; both: it can hit both nodes at once."""
    def register(function):
        entry = Kind(function, cuts, parts, both)
        KINDS[entry.name] = entry
        return function
    return register


# --- processes --------------------------------------------------------------------------------------


def processes(node, *words):
    """{pid: command line} of those of a node whose command line has one of the words."""
    found = {}
    for pid in node.space.pids():
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                line = f.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            continue
        if any(w in line for w in words):
            found[pid] = line
    return found


def signal_some(nodes, random, number, words, most):
    """Send a signal to up to so many of the processes that have one of the words."""
    for node in nodes:
        pids = sorted(processes(node, *words))
        for pid in random.sample(pids, min(len(pids), random.randrange(1, most + 1))):
            util.proc_signal(pid, number)


def worker_of(node):
    known = node.daemon("mailfs").known()
    return known and alone.worker_of(known[0])


@kind(cuts=True, parts=True)
def kill_mailfs(_lab, nodes, _random):
    for node in nodes:
        node.kill("mailfs")


@kind()
def kill_worker(_lab, nodes, _random):
    """The worker of mailfs: the mount is kept, and no client may notice."""
    for node in nodes:
        worker = worker_of(node)
        if worker:
            util.proc_signal(worker, signal.SIGKILL)


@kind(parts=True)
def kill_syncd(_lab, nodes, _random):
    for node in nodes:
        node.kill("syncd")


@kind(cuts=True)
def kill_imap(_lab, nodes, random):
    signal_some(nodes, random, signal.SIGKILL, ("dovecot/imap",), 6)


@kind(cuts=True)
def kill_lmtp(_lab, nodes, random):
    signal_some(nodes, random, signal.SIGKILL, ("dovecot/lmtp",), 4)


@kind(cuts=True)
def kill_dovecot(_lab, nodes, _random):
    for node in nodes:
        for pid in processes(node, "dovecot"):
            util.proc_signal(pid, signal.SIGKILL)


@kind(cuts=True)
def kill_postfix(_lab, nodes, random):
    pieces = ("qmgr", "cleanup -", "smtpd -", "lmtp -", "rewrite", "postfix/sbin/master")
    for node in nodes:
        signal_some([node], random, signal.SIGKILL, random.sample(pieces, 2), 3)


@kind(parts=True)
def stop_mailfs(_lab, nodes, _random):
    """All of it: who holds the mount, and the worker that answers."""
    for node in nodes:
        worker = worker_of(node)
        node.daemon("mailfs").kill(signal.SIGSTOP, wait=False)
        if worker:
            util.proc_signal(worker, signal.SIGSTOP)


@kind(parts=True)
def stop_syncd(_lab, nodes, _random):
    for node in nodes:
        node.daemon("syncd").kill(signal.SIGSTOP, wait=False)


@kind()
def stop_workers(_lab, nodes, random):
    signal_some(nodes, random, signal.SIGSTOP, ("dovecot/imap", "dovecot/lmtp"), 6)


# --- the link ---------------------------------------------------------------------------------------


@kind(parts=True, both=False)
def cut(lab, _nodes, _random):
    lab.pair.cut_link(silent=True)


@kind(parts=True, both=False)
def cut_one_way(_lab, nodes, _random):
    for node in nodes:
        node.space.drop(True)


@kind(parts=True, both=False)
def link_down(lab, _nodes, _random):
    lab.pair.cut_link(silent=False)


@kind(parts=True, both=False)
def flap(lab, _nodes, random):
    for _ in range(random.randrange(2, 4)):
        lab.pair.cut_link(silent=random.random() < 0.5)
        lab.wait(random.uniform(0.1, 1.0))
        lab.pair.heal_link()
        lab.wait(random.uniform(0.05, 0.5))


# --- disks and machines -----------------------------------------------------------------------------


@kind(parts=True)
def full(_lab, nodes, _random):
    for node in nodes:
        node.disk.fill()


@kind(cuts=True, parts=True)
def crash(lab, nodes, _random):
    die(nodes)
    lab.dead(nodes)


@kind(cuts=True, parts=True)
def power(lab, nodes, _random):
    die(nodes, power=True)
    lab.dead(nodes, power=True)


def die(nodes, power=False):
    """Silent before any of them dies: what a node's end kills is everything in its namespace, and so what
    silences it there for another's sake."""
    for node in nodes:
        node.go_silent()
    util.parallel(*(lambda n=n: n.crash(silent=False, power=power) for n in nodes))


# --- made whole again -------------------------------------------------------------------------------


def heal(pair):
    """Restore the link, the disks and every process of both nodes."""
    pair.heal_link()
    util.parallel(*(lambda n=n: heal_node(n) for n in pair.nodes))


def heal_node(node):
    if not node.disk.mounted():
        node.boot()
    for pid in node.space.pids():
        util.proc_signal(pid, signal.SIGCONT)
    if node.disk.free():
        # its master starts nothing anew for a minute where something could not be written
        util.poll("%s: end of Postfix" % node.host, lambda: not postfix_left(node), 20)
    for name in ("syncd", "mailfs"):
        if not node.daemon(name).running():
            node.start(name)
    heal_dovecot(node)
    heal_postfix(node)


def heal_dovecot(node):
    if not processes(node, "/dovecot -c", "dovecot -c"):
        util.kill_all(lambda: list(processes(node, "dovecot")), "what is left of Dovecot")
        node.dovecot.forget_pid()
        node.start("dovecot")


def heal_postfix(node):
    if not processes(node, "postfix/sbin/master"):
        util.poll("%s: end of Postfix's processes" % node.host, lambda: not postfix_left(node), 20)
        util.poll(lambda: "%s: start of Postfix: %s" % (node.host, util.tail(node.log("postfix.start"), 0, 5)),
                  lambda: started(node), 20)


def started(node):
    """It says no while one that it was told of is still ending."""
    try:
        node.start("postfix")
    except util.Fail:
        return False
    return True


def postfix_left(node):
    """They end when they see that their master has gone; for whom waits for work, not at once."""
    return node.terminate("/postfix/")
