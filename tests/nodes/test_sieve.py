#!/usr/bin/env python3
"""Sieve scripts activated by symlink on one node work on the other."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, compare, mail, util  # noqa: E402


SCRIPT = 'require "fileinto";\nif header :contains "Subject" "%s" { fileinto "%s"; }\n'


def write(node, user, name, content):
    path = node.home(user, "sieve", name)
    with open(path + ".new", "w") as f:
        f.write(content)
    os.chown(path + ".new", 5000, 5000)
    os.rename(path + ".new", path)


def activate(node, user, name):
    link = node.home(user, ".dovecot.sieve")
    os.symlink("sieve/" + name, link + ".new")
    os.lchown(link + ".new", 5000, 5000)
    os.rename(link + ".new", link)


def wait_script(node, user, name, content):
    def there():
        try:
            with open(node.home(user, ".dovecot.sieve")) as f:
                return (os.readlink(node.home(user, ".dovecot.sieve")) == "sieve/" + name and
                        f.read() == content)
        except OSError:
            return False
    util.poll("%s: %s is the active script" % (node.host, name), there)


def test(t):
    user = t.pair.user("sieve", ("Spam", "Lists"))
    os.mkdir(t.a.home(user, "sieve"))
    os.chown(t.a.home(user, "sieve"), 5000, 5000)
    one, two = SCRIPT % ("viagra", "Spam"), SCRIPT % ("[list]", "Lists")
    write(t.a, user, "one.sieve", one)
    activate(t.a, user, "one.sieve")
    wait_script(t.b, user, "one.sieve", one)
    spam = t.b.deliver(user, mail.message("buy viagra"))
    ham = t.b.deliver(user, mail.message("[list] hello"))
    view = t.wait_equal(user)
    compare.assert_has(view, [spam], "Spam", exactly=True)
    compare.assert_has(view, [ham], "INBOX", exactly=True)
    # another script, from the other node
    write(t.b, user, "two.sieve", two)
    activate(t.b, user, "two.sieve")
    wait_script(t.a, user, "two.sieve", two)
    listed = t.a.deliver(user, mail.message("[list] hello again"))
    # and the active one changed in place
    three = SCRIPT % ("[list]", "Spam")
    write(t.a, user, "two.sieve", three)
    wait_script(t.b, user, "two.sieve", three)
    moved = t.b.deliver(user, mail.message("[list] once more"))
    view = t.wait_equal(user)
    compare.assert_has(view, [listed], "Lists", exactly=True)
    compare.assert_has(view, [spam, moved], "Spam", exactly=True)


case.main(test)
