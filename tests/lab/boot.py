"""What a boot of a node does before its mail daemons start, as the units in packaging/systemd/ say."""

import os

from . import util

UNIT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "packaging", "systemd",
                    "mailfs-dovecot-caches.service")
INDEX = "/var/lib/dovecot/index"


def command(index):
    """The unit's ExecStart, for indexes in that directory."""
    with open(UNIT) as f:
        line = next(line for line in f if line.startswith("ExecStart="))
    words = line.partition("=")[2].split()
    if INDEX not in words:
        raise util.Fail("%s: ExecStart without %s" % (UNIT, INDEX))
    return [index if word == INDEX else word for word in words]


def remove_caches(node):
    """Where Dovecot's indexes are: on the node's own disk, or beside the mail in its store."""
    util.run(command(node.store if node.options["index"] == "mount" else node.dovecot.index))
