"""A private Dovecot: IMAP, LMTP, POP3, with sieve and quota.

Written for 2.3 (Debian 12) and for 2.4 (Debian 13), whose configuration has little in common
with the former's.  The mail is on the mount, control files (uidlist, keywords,
subscriptions) too; the indexes are on the local disk, as the README tells to do it.
Any user name exists; the password does not matter; mail belongs to uid and gid 5000.
"""

import functools
import os

from . import util

UID = GID = 5000

V23 = """
protocols = imap lmtp pop3
listen = *
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {log}
ssl = no
disable_plaintext_auth = no
auth_username_format = %Ln
auth_worker_max_count = 4
first_valid_uid = 1
mail_location = maildir:~/Maildir{index23}{layout23}
mail_max_userip_connections = 0
verbose_proctitle = yes
shutdown_clients = yes
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/%n allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = .
}}
mail_plugins = quota
protocol lmtp {{
  mail_plugins = quota sieve
}}
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=1G
  sieve = file:~/sieve;active=~/.dovecot.sieve
}}
default_process_limit = 512
default_client_limit = 4096
service anvil {{
  client_limit = 4096
}}
service imap-login {{
  service_count = 0
  inet_listener imap {{
    port = 143
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  service_count = 0
  inet_listener pop3 {{
    port = 110
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = 24
  }}
}}
"""

V24 = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols {{
  imap = yes
  lmtp = yes
  pop3 = yes
}}
listen = *
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {log}
ssl = no
auth_allow_cleartext = yes
auth_username_format = %{{user | username | lower}}
first_valid_uid = 1
mail_driver = maildir
mail_path = ~/Maildir
mailbox_list_layout = {layout}
{index24}
mail_max_userip_connections = 0
verbose_proctitle = yes
shutdown_clients = yes
passdb static {{
  fields {{
    nopassword = yes
  }}
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {home}/%{{user | username}}
  }}
  userdb_static_allow_all_users = yes
}}
namespace inbox {{
  inbox = yes
  separator = .
}}
mail_plugins {{
  quota = yes
}}
protocol lmtp {{
  mail_plugins {{
    sieve = yes
  }}
}}
protocol imap {{
  mail_plugins {{
    imap_quota = yes
  }}
}}
quota_storage_size = 1G
quota "User quota" {{
  driver = maildir
}}
sieve_script personal {{
  driver = file
  path = ~/sieve
  active_path = ~/.dovecot.sieve
}}
default_process_limit = 512
default_client_limit = 4096
service imap-login {{
  restart_request_count = unlimited
  inet_listener imap {{
    port = 143
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  restart_request_count = unlimited
  inet_listener pop3 {{
    port = 110
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = 24
  }}
}}
"""


@functools.lru_cache(maxsize=None)
def version():
    """(2, 3) or (2, 4): what is installed."""
    words = util.run(["dovecot", "--version"]).stdout.split(".")
    return int(words[0]), int(words[1])


def configuration(where, log, index, home, layout="maildir++"):
    """index: a directory for the indexes, or None: beside the mail."""
    return (V23 if version() < (2, 4) else V24).format(
        dir=where, log=log, home=home, uid=UID, gid=GID, layout=layout,
        index23=":INDEX=%s/%%n" % index if index else "",
        index24="mail_index_path = %s/%%{user | username}" % index if index else "",
        layout23="" if layout == "maildir++" else ":LAYOUT=" + layout)


class Dovecot:
    """The instance of one node."""

    name = "dovecot"

    def __init__(self, node):
        self.node = node
        self.dir = os.path.join(node.dir, "dovecot")
        self.conf = os.path.join(self.dir, "dovecot.conf")
        self.log = node.log("dovecot")
        self.index = os.path.join(node.data, "index")

    def prepare(self):
        for path in (self.dir, self.index):
            os.makedirs(path, exist_ok=True)
        os.chown(self.index, UID, GID)
        index = None if self.node.options["index"] == "mount" else self.index
        with open(self.conf, "w") as f:
            f.write(configuration(self.dir, self.log, index, self.node.mount,
                                  self.node.options["layout"]))

    def start(self):
        # dovecot keeps the standard output it was given open for ever
        self.node.sh("dovecot -c %s >>%s 2>&1" % (self.conf, self.node.log("dovecot.start")))
        self.node.wait_ports(143, 24, 110)

    def stop(self):
        # "dovecot stop" takes three seconds; SIGTERM to each of its processes does the same
        util.poll("%s: end of Dovecot" % self.node.host, lambda: not self.node.terminate("/dovecot"), 10)
        self.forget_pid()

    def forget_pid(self):
        """As a boot does, which empties /run: the pid in the file may be in use again."""
        try:
            os.unlink(os.path.join(self.dir, "run", "master.pid"))
        except FileNotFoundError:
            pass

    def doveadm(self, *args, check=True):
        return self.node.run("doveadm", "-c", self.conf, *args, check=check)
