"""How soon the other node has it; and what a long wire does to that and to the clients."""

import os

from lab import util

import backends
import chain
import phases
import report

COUNT, RATE = 200, 20


class Gluster(backends.Gluster):
    """With a second mount, as the other server has one."""

    def up(self):
        super().up()
        self.second = os.path.join(self.run_dir, "second")
        os.mkdir(self.second)
        self.run("glusterfs", "--volfile-server=" + self.ADDRESS, "--volfile-id=v", self.second)
        util.poll("the second mount", lambda: self.run("test", "-d", self.second + "/root",
                                                       check=False).returncode == 0)

    def sides(self):
        return self.root, self.second + "/root", os.path.join(self.bricks[1], "root")


class Pair(backends.Pair):
    def sides(self):
        b = self.both.b
        return self.root, b.home("bench"), b.stored("bench")


class Rsync(backends.RsyncLoop):
    def sides(self):
        return self.root, self.peer, self.peer


def mailbox(bench, backend):
    """One that both sides have."""
    top = os.path.join(backend.root, "seen")
    phases.make_mailboxes(bench.load, backend, top)
    place = "seen/one/m0"
    mine, theirs, watch = (os.path.join(side, place) for side in backend.sides())
    util.poll("the mailbox at the other side", lambda: util.run(
        backend.argv("test", "-d", theirs + "/new"), check=False).returncode == 0, 60)
    return mine, theirs, watch + "/new"


def part(bench, say):
    everything = [Pair("disk"), Pair("memory"), Pair("async"), Gluster(), Rsync()]
    found, rows = {}, []
    for backend in everything:
        try:
            for up in bench.bring_up([backend]):
                if isinstance(up, Rsync):
                    place(bench, up)
                found[up.name] = bench.load.run(up, "bench_visible", *mailbox(bench, up), COUNT, RATE)
        finally:
            backend.down()
    for name, (delivery, seen) in found.items():
        rows.append((name, ["%.1f / %.1f" % (f["p50_us"] / 1e3, f["p99_us"] / 1e3)
                            for f in (delivery, seen)] + ["%.2f" % seen["daemon_cpu"]]))
    bench.out["visible"] = found
    report.table("%d messages at %d a second, milliseconds, p50 / p99" % (COUNT, RATE),
                 ["the delivery itself", "from its end until visible at the peer", "CPU s of the daemons"],
                 rows, "rsync in a loop has %d messages in place" % backends.RsyncLoop.PLACED)
    say("visible: done")


def place(bench, backend):
    """So many messages that a pass has something to look at."""
    where = os.path.join(backend.root, "placed")
    util.run(["install", "-d", "-o", "5000", "-g", "5000", where])
    run = ["setpriv", "--reuid=5000", "--regid=5000", "--clear-groups",
           os.path.join(bench.load.dir, "bench_maildir")]
    util.run(run + ["make", where, "1", "1"])
    util.run(run + ["fill", where, "1", str(backend.PLACED), str(backend.PLACED)], timeout=120)


# --- the length of the wire -----------------------------------------------------------------------

RTTS = (0, 200, 5000, 50000)     # microseconds


def one_rtt(bench, server, rtt):
    """Each kind of act, in numbers that end within some seconds on any wire."""
    few = 60 if rtt >= 20000 else 200
    users = server.users(0)
    where = os.path.join(server.root, "rtt")
    phases.make_mailboxes(bench.load, server, where)
    got = {}
    for label, mailboxes, phase, workers, count in (
            ("deliver 1", "one", "deliver", 1, few), ("deliver 16", "sixteen", "deliver", 16, 8 * few),
            ("pick up 1", "one", "pickup", 1, few), ("flag 1", "one", "flag", 1, few),
            ("flag in L 1", "one", "store", 1, few)):
        got[label] = bench.load.run(server, "bench_maildir", phase, os.path.join(where, mailboxes),
                                    workers, count)[0]
    got["LMTP 1"] = chain.mail(bench, server, "lmtp", 24, few, users, clients=1)
    got["LMTP 16"] = chain.mail(bench, server, "lmtp", 24, 4 * few, users, clients=16)
    got["IMAP STORE 1"] = chain.mail(bench, server, "store", 143, few, users, clients=1)
    return got


def rtt_part(bench, say):
    relay = os.path.join(bench.load.dir, "bench_relay")
    found = {}
    for rtt in RTTS if bench.wanted("pair disk") else []:
        server = chain.Pair("disk", postfix=False, delay=rtt // 2, relay=relay)
        try:
            server.up()
            found[rtt] = one_rtt(bench, server, rtt)
        finally:
            server.down()
        say("rtt: %.1f ms" % (rtt / 1000))
    bench.out["rtt"] = found
    if not found:
        return
    columns = ["no relay" if r == 0 else "%.1f ms" % (r / 1000) for r in found]
    labels = list(next(iter(found.values())))
    report.table("A pair with commit = disk over a wire with this round trip: p50 in milliseconds", columns,
                 [(la, ["%.2f" % (found[r][la]["p50_us"] / 1000) for r in found]) for la in labels])
    report.table("The same, operations a second", columns,
                 [(la, [report.number(report.rate(found[r][la])) for r in found]) for la in labels])
