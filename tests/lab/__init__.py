"""A laboratory of two mail servers on one machine.

A node is a network namespace and a UTS namespace (host names mx-a and mx-b, addresses
10.77.0.1 and .2 on a veth pair) with a private instance of the stock Postfix and Dovecot,
and mailfs with mailfs-syncd below them.  The FUSE mounts live in the machine's own mount
namespace: `ip netns exec` makes a private one each time, in which a mount made by one
command is invisible to the next, so everything here enters by nsenter --net --uts.

  util       waiting, processes, running commands; Fail, Skip
  rundir     the run directory: what was made is written down there first, so that it can
             be taken down by anyone, also after SIGKILL (see the program `reap`)
  net        namespaces, the link, cutting it
  dovecot, postfix, mailfs
             configuration and starting, one module per product
  disk       a file system of a node's own: full, or without power
  node       one mail server: start, stop, kill, clients
  pair       both of them: bring-up, waiting for states, tear-down
  imap, mail clients: IMAP with IDLE by hand; LMTP, SMTP, POP3
  apart      many stories of one partition
  locks      a process that holds Dovecot's uidlist lock, or dies with it
  follow      a client that stays connected and checks EXISTS, EXPUNGE and bodies
  crowd       many users whose mailboxes all change on both sides
  relay      what is between the nodes, slowed or swallowed
  reads       which directories are read, by whomever
  storm, outage
             load: everybody at once; clients and deliveries while a node dies
  compare    both nodes show the same, over IMAP and on disk
  selftest   that the comparison can see a difference
  case       what a test script is; runner: many of them on one pair

Environment:
  LAB_BACKEND   mailfs (default), or shared: both nodes on one plain directory without
                mailfs, which proves the lab itself (what needs mailfs says SKIP)
  LAB_BIN       where mailfs, mailfs-syncd and mailfsctl are (default build/bin)
  LAB_KEEP=1    leave the run directory of a failed test, for reading its logs
  LAB_LOGS      a directory where the logs of failed tests are copied to
  LAB_PAIR      run directory of a pair that is up already (set by the runner)
  LAB_TMP       where run directories are made (default: the temp directory)
"""
