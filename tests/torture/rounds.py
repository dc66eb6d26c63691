"""One run: the pair, the load, the rounds."""

import os
import random
import re
import threading
import time

from lab import case, util
from lab.pair import Pair

from . import clients, faults, plan, referee
from .ledger import Ledger
from .table import Figures, Run
from .witness import Witness

USERS = 3
DISK = 512 << 20
TIMEOUT = 2         # the pair's, in seconds
BOUND = 60          # seconds within which the pair must be in sync again
EQUAL = 15         # and then the views equal
STATE = re.compile(r"volume mail: (in-sync|alone|catching-up|no-peer)")


class States(threading.Thread):
    """When each node was in sync, as its syncd says in its log."""

    def __init__(self, pair, ledger):
        super().__init__(daemon=True)
        self.pair, self.ledger, self.halt = pair, ledger, threading.Event()
        self.since = {node: None for node in pair.nodes}    # not in sync since then
        self.offset = {node: 0 for node in pair.nodes}

    def run(self):
        while not self.halt.wait(0.05):
            for node in self.pair.nodes:
                self.look(node)

    def no_syncd(self, node):
        """It was killed: nobody says that it is not in sync, until the next one says that it is again."""
        if self.since[node] is None:
            self.since[node] = util.now()

    def look(self, node):
        with open(node.log("syncd"), errors="replace") as f:
            f.seek(self.offset[node])
            text = f.read()
            self.offset[node] = f.tell()
        for word in STATE.findall(text):
            with self.ledger.lock:
                self.ledger.link.said(node.letter, word, util.now())
            if word == "in-sync":
                self.since[node] = None
            elif self.since[node] is None:
                self.since[node] = util.now()


def moment(text):
    """The time of a line of Postfix's log, as util.now() counts."""
    year = time.localtime().tm_year
    then = time.mktime(time.strptime("%d %s" % (year, text), "%Y %b %d %H:%M:%S"))
    return util.now() - (time.time() - then)


class Lab:
    """What faults see of a run."""

    def __init__(self, pair, ledger, states):
        self.pair, self.ledger, self.states = pair, ledger, states
        self.down, self.killed = set(), set()

    def wait(self, seconds):
        threading.Event().wait(seconds)

    def dead(self, nodes, power=False):
        self.down |= set(nodes)
        if power:
            for node in nodes:
                self.ledger.power_cut(node, self.states.since[node], len(nodes) > 1)

    def inflict(self, step, chance):
        """Do it; its name as it is counted, or None if there is nothing left to do it to."""
        entry = faults.KINDS[step.kind]
        nodes = [n for n in self.pair.nodes if n.letter in step.letters and n not in self.down]
        if not nodes:
            return None
        self.ledger.outage(step.kind, nodes if entry.both else self.pair.nodes)
        if step.kind == "kill-syncd":
            for node in nodes:
                self.states.no_syncd(node)
        self.killed |= {(n, step.kind[5:]) for n in nodes if step.kind in ("kill-mailfs", "kill-syncd")}
        entry.function(self, nodes, chance)
        self.ledger.died(step.kind, nodes)
        return step.kind if len(nodes) == 1 or not entry.both else step.kind + " (both)"

    def heal(self):
        """Make all whole; the daemons that were not running and should have."""
        died = ["%s: %s" % (n.host, d) for n in self.pair.nodes for d in ("mailfs", "syncd")
                if n not in self.down and (n, d) not in self.killed and not n.daemon(d).running()]
        # faults.heal_node() ends Postfix there, in the middle of what it delivers
        full = [node for node in self.pair.nodes if node.disk.is_full()]
        for node in full:
            self.ledger.outage("kill-postfix", [node])
        faults.heal(self.pair)
        self.ledger.has_room()
        for node in full:
            self.ledger.outage("kill-postfix", [node])
        self.down, self.killed = set(), set()
        return died


class Torture:
    def __init__(self, seed, kinds, say, folders_often=False):
        self.folders_often = folders_often
        self.seed, self.kinds, self.say = seed, {k: faults.KINDS[k] for k in kinds}, say
        self.total = Run()
        self.pair = Pair(timeout=TIMEOUT, disk=DISK, brake="0")

    # --- bring-up and tear-down -------------------------------------------------------------------

    def __enter__(self):
        self.pair.__enter__()
        try:
            self.users = [self.pair.user("torture", ("Archive", "Work")) for _ in range(USERS)]
            self.ledger, self.witness = Ledger(self.users, TIMEOUT), Witness()
            for user in self.users:
                for name in ("Archive", "Work"):
                    self.ledger.folder_made(self.ledger.folder_making(user, name), None)
            self.states = States(self.pair, self.ledger)
            self.states.start()
            self.lab = Lab(self.pair, self.ledger, self.states)
            self.load = clients.Load(self.pair, self.ledger, self.witness, self.seed,
                                     folders_often=self.folders_often)
            self.offsets = {}
        except BaseException:
            self.pair.down(failed=True)
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is None:
            self.load.end()
        self.states.halt.set()
        self.pair.down(failed=kind is not None or self.total.failed > 0)

    # --- a round ----------------------------------------------------------------------------------

    def round(self, number, steps=None):
        """Play it; its Figures, and the line that tells of it."""
        figures, names, chance = Figures(), [], random.Random("%s %d" % (self.seed, number))
        if steps is None:
            steps, chance = plan.steps(self.seed, number, self.kinds)
        self.ledger.new_round()
        self.mark_logs()
        self.load.go()
        try:
            for step in steps:
                self.lab.wait(step.wait)
                if step.heal:
                    self.heal(figures)
                names.append(self.lab.inflict(step, chance))
            self.lab.wait(chance.uniform(0.5, 3.0))
        finally:
            self.heal(figures)
        self.lab.wait(chance.uniform(0.2, 1.0))
        in_sync = self.settle(figures)
        names = [n for n in names if n]
        self.read_queues()
        self.judge(figures)
        self.read_logs(figures)
        self.total.add(figures, names, in_sync, self.load.longest())
        self.total.accepted = self.ledger.accepted
        return figures, "%s; in sync after %.1f s, longest operation %.1f s" % (
            ", ".join(names), in_sync, self.load.longest())

    def heal(self, figures):
        for words in self.lab.heal():
            figures.add("trouble", "%s had ended by itself" % words)

    def settle(self, figures):
        """Load off, queues empty, both nodes in sync; the seconds from the end of the last fault."""
        start = util.now()
        in_sync = None
        try:
            self.load.pause()
            self.pair.wait_in_sync(timeout=BOUND)
            in_sync = util.now() - start
            for node in self.pair.nodes:
                # a qmgr that comes after a killed one looks again, a minute later, at what an old
                # process was still delivering ("skipped, still being delivered")
                node.postfix.wait_delivered(timeout=2 * BOUND)
        except util.Fail as error:
            figures.add("trouble", str(error))
        return in_sync if in_sync is not None else util.now() - start

    def judge(self, figures):
        for user in self.users:
            view, found = referee.agreed_view(self.pair, user, EQUAL)
            if found:
                figures.add("not equal", "%s: %s" % (user, "\n        ".join(found[:8])))
            if view:
                one = referee.judge(self.ledger, faults.KINDS, user, view)
                figures.merge(one)
                figures.words += one.words
                self.show(user, view)
        for words in self.witness.take():
            figures.add("rebound", words)

    def show(self, user, view):
        """The referee is a client, too."""
        for name, (validity, rows) in view["folders"].items():
            folder = self.ledger.books[user].folder(name)
            self.witness.look("referee", user, folder, validity, {u: r[1] for u, r in rows.items()})

    # --- logs -------------------------------------------------------------------------------------

    def mark_logs(self):
        self.offsets = {p: os.path.getsize(p) for p in self.pair.logs()}

    def said(self, path):
        """The lines of a log since the round began."""
        with open(path, errors="replace") as f:
            f.seek(self.offsets.get(path, 0))
            return f.read().splitlines()

    def read_queues(self):
        """What Postfix says it will have to send once more, and Dovecot that it could not save (its index can be
        unusable after a power cut: the message is in new/ then); and when Postfix was done with a message."""
        for node in self.pair.nodes:
            self.ledger.unsaved += re.findall(r"lmtp.*: msgid=(\S+): save failed to ",
                                              "\n".join(self.said(node.dovecot.log)))
            idents = {}
            for line in self.said(node.postfix.log):
                words = re.search(r"cleanup\[\d+\]: (\w+): message-id=(\S+)", line)
                if words:
                    idents[words.group(1)] = words.group(2)
                words = re.match(r"(\w+ +\d+ [\d:]+) .*lmtp\[\d+\]: (\w+): to=<([^@>]+)@.*may be sent more than once", line)
                if words and words.group(2) in idents:
                    self.ledger.twice.append((words.group(3), idents[words.group(2)], moment(words.group(1))))
                words = re.match(r"(\w+ +\d+ [\d:]+) .*qmgr\[\d+\]: (\w+): removed", line)
                if words and words.group(2) in idents:
                    self.ledger.left_queue(idents[words.group(2)], moment(words.group(1)))

    def read_logs(self, figures):
        for path in self.pair.logs():
            name = os.path.basename(path)
            for line in self.said(path):
                if name == "postfix.log" and "status=bounced" in line:
                    figures.add("bounced", line)
                elif name in ("mailfs.log", "syncd.log") and case.SANITIZER.search(line):
                    figures.add("trouble", line)
