#!/usr/bin/env python3
"""Dovecot's indexes beside the mail on the mount: a node's own, and not in the way."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case, storm  # noqa: E402


def test(t):
    t.needs_mailfs()
    work = storm.Storm(t.pair, storm.Storm.prepare(t.pair), count=100)
    delivered, took = work.run()
    work.verify()
    t.figure("100 deliveries in %.1f s, all done in %.1f s", delivered, took)
    t.check(os.path.exists(t.a.home(work.user, "Maildir", "dovecot.index.log")), "no index on the mount")


case.main(test, own=True, index="mount", postfix=False)
