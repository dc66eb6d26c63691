"""The real chain: stock Postfix and Dovecot, LMTP and SMTP in, IMAP out."""

import os

from lab import node, pair, rundir, util
from lab.dovecot import GID, UID

import backends
import report

CLIENTS, USERS, LMTP, SMTP = 4, 8, 800, 400


class Server:
    """What a chain backend has beside a backend's own: a node with the mail daemons on it."""

    def account(self):
        """Every process of the server counts, the mail daemons too."""
        return {str(p): p for x in self.nodes() for p in x.space.pids()}

    def users(self, number):
        names = ["r%du%d" % (number, i) for i in range(USERS)]
        for name in names:
            with self.node.imap(name, mailbox="INBOX") as client:
                client.logout()
        return names

    def argv(self, *command):
        return self.node.argv(*command)

    pids = account

    def nodes(self):
        return [self.node]


class Plain(Server, backends.Backend):
    """Mail on a directory of ext4, or on what below() puts there."""

    name = "ext4"

    def up(self):
        options = dict(pair.OPTIONS, backend="shared", disk=backends.DISK)
        self.node = node.Node(self.run_dir, "a", options)
        os.makedirs(self.node.dir)
        self.node.prepare()
        self.below()
        self.node.space.ip("link", "set", "lo", "up")
        self.node.start()

    def below(self):
        pass


class Bindfs(Plain):
    name = "bindfs"

    def below(self):
        source = backends.mail_dir(os.path.join(self.node.data, "source"))
        self.pid = backends.start_bindfs(self.run_dir, source, self.node.mount)

    def pids(self):
        return dict(self.account(), bindfs=self.pid)


class Empty(Plain):
    """See backends.Empty."""

    name = "empty"

    def __init__(self, load):
        self.load = load

    def below(self):
        source = backends.mail_dir(os.path.join(self.node.data, "source"))
        self.served = backends.start_empty(self.load, self.run_dir, source, self.node.mount, *self.second())

    def second(self):
        return []

    def pids(self):
        return dict(self.account(), **self.served)


class EmptyPair(Empty):
    """The other server's mail daemons have nothing to do."""

    name = "empty pair"

    def second(self):
        return [self.disk("second")]


class Alone(Server, backends.Alone):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.options.update(postfix=True, dovecot=True)

    def up(self):
        self.node = node.Node(self.run_dir, "a", self.options)
        os.makedirs(self.node.dir)
        self.node.prepare()
        self.node.space.ip("link", "set", "lo", "up")
        self.node.start()


class Pair(Server, backends.Pair):
    def __init__(self, commit="disk", postfix=True, **kwargs):
        super().__init__(commit, **kwargs)
        self.options.update(postfix=postfix, dovecot=True)

    def up(self):
        super().up()
        util.poll("Dovecot", lambda: self.node.listening(143))

    def nodes(self):
        return self.both.nodes

    def users(self, number):
        names = super().users(number)
        for name in names:
            self.both.wait_path(self.both.b, name, "Maildir", "cur")
        return names


def mail(bench, server, what, port, count, users, clients=CLIENTS):
    return bench.load.run(server, "bench_mail", what, "127.0.0.1", port, clients, count, *users)[0]


def smtp(bench, server, count, users):
    """Until the last one is in its mailbox, not until Postfix has it."""
    start = util.now()
    figures = mail(bench, server, "smtp", 25, count, users)
    server.node.postfix.wait_delivered(timeout=120)
    figures["seconds"] = util.now() - start
    return figures


def one_round(bench, servers, number, results):
    turn = number % len(servers)
    servers = servers[turn:] + servers[:turn]
    scale = bench.options.scale
    users = {s: s.users(number) for s in servers}
    steps = [("LMTP deliveries", lambda s: mail(bench, s, "lmtp", 24, int(LMTP * scale), users[s])),
             ("IMAP fetches", lambda s: mail(bench, s, "fetch", 143, 2, users[s])),
             ("IMAP STORE", lambda s: mail(bench, s, "store", 143, 400, users[s])),
             ("Postfix to mailbox", lambda s: smtp(bench, s, int(SMTP * scale), users[s]))]
    for label, step in steps:
        for server in servers:
            figures = step(server)
            results.setdefault(label, {}).setdefault(server.name, {})[number] = figures
            server.settle()


def part(bench, say):
    everything = [Plain(), Bindfs(), Empty(bench.load), EmptyPair(bench.load), Alone(), Alone(access="private"), Pair("disk"),
                  Pair("disk", access="private")]
    results = {}
    try:
        up = bench.bring_up(everything)
        say("chain: up: " + ", ".join(b.name for b in up))
        for number in range(bench.options.rounds):
            one_round(bench, up, number, results)
            say("chain: round %d of %d" % (number + 1, bench.options.rounds))
        names = [b.name for b in up]
    finally:
        for server in everything:
            server.down()
    bench.out["chain"] = results
    report.rates("The real chain, %d clients, a second, median (ratio to ext4 of the same round)" % CLIENTS,
                 results, names, "ext4", "Pair: both nodes, their mail daemons too, on these cores")
    report.latencies("Latency seen by the client in microseconds, p50 / p99", results, names,
                     ["LMTP deliveries", "IMAP STORE"])
    report.cpu("CPU seconds per 1,000: the client + the servers and daemons (a pair: both nodes)",
               results, names, ["LMTP deliveries", "IMAP fetches"])
