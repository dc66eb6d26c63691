"""A private Postfix: SMTP in, and two ways into a mailbox.

USER@lab.test goes to Dovecot by LMTP; USER@virtual.test is written into the Maildir by
Postfix's own delivery agent, virtual(8), for the users vuser0 to vuser199.  Both end in the
same mailbox of USER.
"""

import os
import stat

from . import util
from .dovecot import GID, UID

MAIN = """
compatibility_level = 3.6
config_directory = {dir}
queue_directory = {spool}/queue
data_directory = {spool}/data
maillog_file = {log}
maillog_file_prefixes = {logdir}
myhostname = {host}.lab.test
mydestination =
mynetworks = 0.0.0.0/0
inet_interfaces = all
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
biff = no
notify_classes =
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
smtpd_recipient_limit = 10000
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = lab.test, virtual.test
virtual_mailbox_maps = static:any
virtual_mailbox_base = {mount}
virtual_minimum_uid = 100
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_transport = lmtp:inet:127.0.0.1:24
transport_maps = regexp:{dir}/transport
lmtp_host_lookup = native
smtp_host_lookup = native
disable_dns_lookups = yes
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 4s
lmtp_connect_timeout = 5s
"""

# chroot "n" everywhere: a chroot would need files of the machine's own instance.  qmgr is woken
# each 5 s, not 300: a new one puts what an old one's lmtp still delivers back into `incoming`, and
# looks at that when it is woken, or when the next mail comes.
MASTER = """
smtp      inet  n       -       n       -       -       smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       5       1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
  -o virtual_mailbox_maps=texthash:{dir}/virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""

# virtual(8) refuses tables that substitute, so these users are written out
VIRTUAL_USERS = ["vuser%d" % i for i in range(200)]
VIRTUAL = "".join("%s@virtual.test %s/Maildir/\n" % (u, u) for u in VIRTUAL_USERS)


class Postfix:
    """The instance of one node."""

    name = "postfix"

    def __init__(self, node):
        self.node = node
        self.dir = os.path.join(node.dir, "postfix")
        self.spool = os.path.join(node.data, "postfix")
        self.log = node.log("postfix")

    def prepare(self):
        os.makedirs(self.dir, exist_ok=True)
        for part in ("queue", "data"):
            os.makedirs(os.path.join(self.spool, part), exist_ok=True)
        # postsuper, as that user and before postlogd runs, has something to say of what a killed cleanup left
        self.node.sh("touch %s && chown postfix %s %s/data" % (self.log, self.log, self.spool))
        fill = dict(dir=self.dir, spool=self.spool, log=self.log, logdir=os.path.dirname(self.log),
                    host=self.node.host, mount=self.node.mount, uid=UID, gid=GID)
        for name, text in (("main.cf", MAIN.format(**fill)), ("master.cf", MASTER.format(**fill)),
                           ("virtual", VIRTUAL), ("transport", "/@virtual\\.test$/ virtual:\n")):
            with open(os.path.join(self.dir, name), "w") as f:
                f.write(text)

    def postfix(self, command, check=True):
        # as with Dovecot: a pipe for its output would never end
        return self.node.sh("postfix -c %s %s >>%s 2>&1" %
                            (self.dir, command, self.node.log("postfix.start")), check=check)

    def start(self):
        self.postfix("start")
        self.node.wait_ports(25)

    def stop(self):
        self.postfix("stop", check=False)
        self.node.wait_no_ports(25)

    def queue(self):
        """The ids of messages still queued."""
        found = []
        for part in ("incoming", "active", "deferred", "maildrop"):
            for where, _dirs, files in os.walk(os.path.join(self.spool, "queue", part)):
                found += [f for f in files if self.accepted(os.path.join(where, f))]
        return found

    @staticmethod
    def accepted(path):
        """What nobody was answered for, since cleanup(8) died or the disk was full, is not executable."""
        try:
            return bool(os.stat(path).st_mode & stat.S_IXUSR)
        except OSError:
            return False

    def said(self, since):
        """What became of mail, from that byte of the log on."""
        with open(self.log) as f:
            f.seek(since)
            return [line for line in f if "status=" in line]

    def wait_deferred(self, since, timeout=20):
        util.poll(lambda: "%s: deferred: %s" % (self.node.host, self.said(since)[-3:]),
                  lambda: any("status=deferred" in line for line in self.said(since)), timeout)

    def wait_delivered(self, timeout=20):
        util.poll(lambda: "%s: queue empty, there is %s" % (self.node.host, self.queue()),
                  lambda: not self.queue(), timeout)
