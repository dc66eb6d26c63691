/*
 * mailfsctl - look after a pair
 *
 *	mailfsctl [-c FILE] [-V VOLUME] COMMAND
 *
 * See mailfsctl(8).
 *
 * Diagnostics: errors to stderr. Exit codes: 0 done, 1 failed, 2 usage or configuration (with
 * file:line), 3 timed out.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "util/version.h"

static const char usage_text[] =
    "usage: mailfsctl [-c FILE] [-V VOLUME] COMMAND\n"
    "\n"
    "  init                        make key and certificate, print what the peer has to know\n"
    "  fingerprint                 print this node's fingerprint\n"
    "  status [--json] [--watch]   how things are; again each second\n"
    "  wait STATE [--timeout S]    until in-sync, alone, catching-up or no-peer\n"
    "  promote [--force]           make this standby the active node\n"
    "  check-config                read the configuration and say what is wrong with it\n"
    "  adopt DIR [--dry-run] [--json] [--dovecot-config FILE]\n"
    "                              an existing Maildir tree becomes the store, in place\n"
    "  undelete --list [MAILBOX]   what was expunged and is kept\n"
    "  undelete [--since TIME] [--recursive] [--all] MAILBOX [NAME...]\n"
    "                              put it back\n"
    "  snapshot create NAME        a consistent view of the volume, for backups\n"
    "  snapshot mount NAME DIR     show it, read-only\n"
    "  snapshot list [--json]; snapshot remove NAME\n"
    "  verify [--content] [--repair] [--accept] [--json] [MAILBOX...]\n"
    "                              compare both nodes, while they serve\n"
    "  confirm [--undo] [MAILBOX]  what was removed all at once was meant to go; or was not\n"
    "  leave [DIR] [--dry-run]     the store becomes a plain Maildir tree again\n"
    "\n"
    "  -c, --config FILE           instead of " CONF_DEFAULT_PATH "\n"
    "  -V, --volume NAME           this volume only\n"
    "  -h, --help;  --version\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 timed out.\n";

/* Options that not every command takes. */
enum {
    OPT_JSON = 1 << 0,
    OPT_TIMEOUT = 1 << 1,
    OPT_DRY_RUN = 1 << 2,
    OPT_DOVECOT = 1 << 3,
    OPT_WATCH = 1 << 4,
    OPT_FORCE = 1 << 5,
    OPT_LIST = 1 << 6,
    OPT_ALL = 1 << 7,
    OPT_RECURSIVE = 1 << 8,
    OPT_SINCE = 1 << 9,
    OPT_CONTENT = 1 << 10,
    OPT_REPAIR = 1 << 11,
    OPT_ACCEPT = 1 << 12,
    OPT_UNDO = 1 << 13,
};

static const char *const option_names[] = {
    "--json", "--timeout",   "--dry-run", "--dovecot-config", "--watch",  "--force",  "--list",
    "--all",  "--recursive", "--since",   "--content",        "--repair", "--accept", "--undo"};

struct command {
    const char *name;
    int (*run)(const struct ctl_args *args);
    int min, max; /* operands */
    const char *operands;
    unsigned options; /* those it takes */
};

static const struct command commands[] = {
    {"init", command_init, 0, 0, "", 0},
    {"fingerprint", command_fingerprint, 0, 0, "", 0},
    {"status", command_status, 0, 0, "", OPT_JSON | OPT_WATCH},
    {"wait", command_wait, 1, 1, "exactly one STATE, please", OPT_TIMEOUT},
    {"promote", command_promote, 0, 0, "", OPT_FORCE},
    {"check-config", command_check_config, 0, 0, "", 0},
    {"adopt", command_adopt, 1, 1, "exactly one DIR, please", OPT_JSON | OPT_DRY_RUN | OPT_DOVECOT},
    {"undelete", command_undelete, 0, 10000, "", OPT_LIST | OPT_ALL | OPT_RECURSIVE | OPT_SINCE},
    {"snapshot", command_snapshot, 1, 3, "create, list, remove or mount", OPT_JSON},
    {"verify", command_verify, 0, 1000, "at most 1000 MAILBOXes",
     OPT_CONTENT | OPT_REPAIR | OPT_ACCEPT | OPT_JSON},
    {"confirm", command_confirm, 0, 1, "one MAILBOX at most", OPT_UNDO},
    {"leave", command_leave, 0, 1, "one DIR at most", OPT_DRY_RUN},
};

static int usage(const char *what, const char *which) {
    fprintf(stderr, "mailfsctl: %s%s%s\n%s", what, which ? ": " : "", which ? which : "",
            usage_text);
    return CTL_USAGE;
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool parse_seconds(const char *text, double *out) {
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*out) && *out >= 0;
}

struct options {
    const char *config, *volume;
    struct ctl_args args;
    unsigned given; /* OPT_* */
};

static const struct option longs[] = {
    {"config", required_argument, NULL, 'c'},
    {"volume", required_argument, NULL, 'V'},
    {"json", no_argument, NULL, 'j'},
    {"timeout", required_argument, NULL, 't'},
    {"dry-run", no_argument, NULL, 'n'},
    {"watch", no_argument, NULL, 'w'},
    {"list", no_argument, NULL, 'l'},
    {"all", no_argument, NULL, 'a'},
    {"recursive", no_argument, NULL, 'r'},
    {"since", required_argument, NULL, 's'},
    {"content", no_argument, NULL, 'C'},
    {"repair", no_argument, NULL, 'R'},
    {"accept", no_argument, NULL, 'A'},
    {"dovecot-config", required_argument, NULL, 'd'},
    {"undo", no_argument, NULL, 'u'},
    {"force", no_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

/* Those that take no value. */
static const struct {
    int letter;
    unsigned option;
    size_t at; /* a bool of struct ctl_args */
} words[] = {
    {'j', OPT_JSON, offsetof(struct ctl_args, json)},
    {'f', OPT_FORCE, offsetof(struct ctl_args, force)},
    {'n', OPT_DRY_RUN, offsetof(struct ctl_args, dry_run)},
    {'w', OPT_WATCH, offsetof(struct ctl_args, watch)},
    {'l', OPT_LIST, offsetof(struct ctl_args, list)},
    {'a', OPT_ALL, offsetof(struct ctl_args, all)},
    {'r', OPT_RECURSIVE, offsetof(struct ctl_args, recursive)},
    {'C', OPT_CONTENT, offsetof(struct ctl_args, content)},
    {'R', OPT_REPAIR, offsetof(struct ctl_args, repair)},
    {'A', OPT_ACCEPT, offsetof(struct ctl_args, accept)},
    {'u', OPT_UNDO, offsetof(struct ctl_args, undo)},
};

static bool take_word(struct options *o, int letter) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].letter != letter)
            continue;
        *(bool *)((char *)&o->args + words[i].at) = true;
        o->given |= words[i].option;
        return true;
    }
    return false;
}

/* -1: go on; otherwise the exit code. */
static int parse_options(int argc, char **argv, struct options *o) {
    int c;

    while ((c = getopt_long(argc, argv, "c:V:h", longs, NULL)) != -1) {
        if (take_word(o, c))
            continue;
        switch (c) {
        case 'c':
            o->config = optarg;
            break;
        case 'V':
            o->volume = optarg;
            break;
        case 't':
            if (!parse_seconds(optarg, &o->args.timeout))
                return usage("--timeout takes a number of seconds", optarg);
            o->given |= OPT_TIMEOUT;
            break;
        case 's':
            o->args.since = optarg;
            o->given |= OPT_SINCE;
            break;
        case 'd':
            o->args.dovecot_config = optarg;
            o->given |= OPT_DOVECOT;
            break;
        case 'h':
            printf("%s", usage_text);
            return CTL_DONE;
        case 'v':
            printf("mailfsctl %s\n", MAILFS_VERSION);
            return CTL_DONE;
        default:
            fputs(usage_text, stderr);
            return CTL_USAGE;
        }
    }
    return -1;
}

/* The command and its operands. -1: go on. */
static int parse_command(int argc, char **argv, struct options *o, const struct command **cmd) {
    int n = argc - optind - 1;

    if (n < 0)
        return usage("a command is missing", NULL);
    *cmd = find_command(argv[optind]);
    if (!*cmd)
        return usage("unknown command", argv[optind]);
    o->args.operands = argv + optind + 1;
    o->args.n_operands = n;
    if (n < (*cmd)->min || n > (*cmd)->max)
        return usage((*cmd)->max > 0 ? (*cmd)->operands : "too many arguments", (*cmd)->name);
    for (size_t i = 0; i < sizeof(option_names) / sizeof(option_names[0]); i++)
        if (o->given & ~(*cmd)->options & 1u << i)
            return usage("this command does not take the option", option_names[i]);
    return -1;
}

/* With the configuration read: the volume, and off. */
static int run(const struct command *cmd, struct options *o, const struct conf *conf) {
    char err[CONF_ERR_MAX];

    o->args.conf = conf;
    if (o->volume) {
        o->args.only = conf_volume_find(conf, o->volume, err);
        if (!o->args.only) {
            fprintf(stderr, "%s\n", err);
            return CTL_USAGE;
        }
    }
    return cmd->run(&o->args);
}

int main(int argc, char **argv) {
    struct options o = {.args = {.timeout = -1}};
    const struct command *cmd = NULL;
    struct conf *conf = NULL;
    char err[CONF_ERR_MAX];
    int rc = parse_options(argc, argv, &o);

    if (rc < 0)
        rc = parse_command(argc, argv, &o, &cmd);
    if (rc >= 0)
        return rc;
    if (conf_load(o.config, &conf, err) != 0) {
        fprintf(stderr, "%s\n", err);
        return CTL_USAGE;
    }
    rc = run(cmd, &o, conf);
    conf_free(conf);
    if (fflush(stdout) != 0 && rc == CTL_DONE)
        rc = CTL_FAILED;
    return rc;
}
