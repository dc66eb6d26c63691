"""The rounds: the same steps on every backend in turn, so that each step has its native figure beside it."""

import json
import os
import subprocess

from lab import util
from lab.dovecot import GID, UID

import backends

# label, mailboxes, phase, workers, operations, files in each mailbox that are gone through again
STEPS = [
    ("deliver 1", "one", "deliver", 1, 1000, None),
    ("pick up 1", "one", "pickup", 1, 1000, None),
    ("flag 1", "one", "flag", 1, 1000, None),
    ("read cold 1", "one", "read", 1, 1000, 1000),
    ("read warm 1", "one", "read", 1, 5000, 1000),
    ("stat 1", "one", "stat", 1, 20000, 1000),
    ("list 1", "one", "list", 1, 2000, 1000),
    ("flag in L 1", "one", "store", 1, 150, None),
    ("keyword in L 1", "one", "keyword", 1, 100, None),
    ("link 1", "linked", "link", 1, 1000, None),
    ("expunge 1", "linked", "expunge", 1, 1000, None),
    ("deliver 4", "four", "deliver", 4, 1200, None),
    ("pick up 4", "four", "pickup", 4, 1200, None),
    ("flag 4", "four", "flag", 4, 1200, None),
    ("read warm 4", "four", "read", 4, 10000, 300),
    ("link 4", "four-linked", "link", 4, 800, None),
    ("deliver 16", "sixteen", "deliver", 16, 1600, None),
    ("link 16", "sixteen-linked", "link", 16, 800, None),
]
WORKERS = {"one": 1, "linked": 1, "four": 4, "four-linked": 4, "sixteen": 16, "sixteen-linked": 16}
COUNTED = ["deliver 1", "link 1", "pick up 1", "flag 1", "read cold 1", "read warm 1", "stat 1",
           "list 1", "flag in L 1", "keyword in L 1", "expunge 1"]
# Cold reading empties the whole machine's caches: what is read warm is read once before.
COLD = "read cold 1"


def programs(build):
    return os.path.join(build, "tests", "bench")


class Load:
    """Runs a load program as the mail user; its figures, and what they cost the backend's daemons."""

    def __init__(self, build):
        self.dir = programs(build)

    def run(self, backend, program, *args, timeout=300, argv=None):
        before = backends.cpu_seconds(backend.pids().values())
        command = (argv or backend.argv)("setpriv", "--reuid=%d" % UID, "--regid=%d" % GID,
                                         "--clear-groups", os.path.join(self.dir, program),
                                         *map(str, args))
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, start_new_session=True, text=True)
        try:
            text = child.communicate(timeout=timeout)[0]
        except BaseException:
            os.killpg(child.pid, 9)
            child.wait()
            raise
        if child.returncode != 0:
            raise util.Fail("%s on %s: %s" % (program, backend.name, text.strip()[-500:]))
        # asked anew: mail daemons start processes as they need them
        after = backends.cpu_seconds(backend.pids().values())
        found = [json.loads(line) for line in text.splitlines()]
        for figures in found:
            figures["daemon_cpu"] = after - before
        return found


def step_of(load, backend, where, step, scale=1.0):
    """One step on one backend; its figures."""
    _label, mailbox, phase, workers, count, files = step
    less = scale / getattr(backend, "slow", 1)
    args = [phase, os.path.join(where, mailbox), workers, max(workers, int(count * less))]
    if files:
        args.append(max(1, int(files * less)))
    return load.run(backend, "bench_maildir", *args)[0]


def make_mailboxes(load, backend, where):
    # made by the mail user, through the mount
    for name, workers in WORKERS.items():
        path = os.path.join(where, name)
        util.run(backend.argv("install", "-d", "-o", str(UID), "-g", str(GID), where, path))
        load_one = ["make", path, workers, 1]
        util.run(backend.argv("setpriv", "--reuid=%d" % UID, "--regid=%d" % GID, "--clear-groups",
                              os.path.join(load.dir, "bench_maildir"), *map(str, load_one)))


def one_step(bench, backend, where, step, results, number):
    if step[0] == COLD:
        backends.drop_caches()
    figures = step_of(bench.load, backend, where, step, bench.options.scale)
    results.setdefault(step[0], {}).setdefault(backend.name, {})[number] = figures
    backend.settle()


def one_round(bench, up, number, results, say):
    """A peer that breaks is left out from then on; the list `up` becomes shorter."""
    where = {b: os.path.join(b.root, "round%d" % number) for b in up}
    made = set()
    for at, step in enumerate(STEPS):
        turn = (number + at) % len(up)
        for backend in up[turn:] + up[:turn]:
            try:
                if backend not in made:
                    make_mailboxes(bench.load, backend, where[backend])
                    made.add(backend)
                one_step(bench, backend, where[backend], step, results, number)
            except util.Fail as error:
                bench.broken(backend, step[0], error)
                up.remove(backend)
        say(step[0])


def count_requests(load, backend, trace, found):
    """A round on its own with few operations, since counting costs time."""
    where = os.path.join(backend.root, "counted")
    make_mailboxes(load, backend, where)
    for step in [s for s in STEPS if WORKERS[s[1]] == 1]:
        counts = {}
        if step[0] == COLD:
            backends.drop_caches()
        with trace.counting(backend.device(), counts):
            ops = step_of(load, backend, where, step, 0.4)["ops"]
        if step[0] in COUNTED:
            found.setdefault(step[0], {})[backend.name] = {
                k: n / ops for k, n in sorted(counts.items(), key=lambda x: -x[1])}
    backend.settle()
