"""The pair under load and random faults, and a referee who compares what the clients were told
with what both nodes hold.

  ledger    what the clients were told, and what that leaves possible
  link      when the two were not in sync, and what that leaves open
  clients   the load: SMTP and LMTP in, IMAP clients at both nodes
  faults    what is done to the nodes, and making them whole again
  witness   what a UID was seen to name
  referee   the comparison
  table     the figures of a run
  selftest  that the referee sees what it is there to see
  plan      which faults in which round; all chance comes from the seed

The program is `run`; its options are described there.
"""
