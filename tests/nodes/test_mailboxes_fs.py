#!/usr/bin/env python3
"""As test_mailboxes, with folders in folders on disk (Dovecot's LAYOUT=fs)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from lab import case  # noqa: E402
import test_mailboxes  # noqa: E402

case.main(test_mailboxes.test, own=True, layout="fs", postfix=False)
