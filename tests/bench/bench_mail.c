/*
 * bench_mail - clients of the real chain: LMTP, SMTP, IMAP
 *
 *	bench_mail lmtp|smtp ADDRESS PORT CLIENTS COUNT USER...
 *	bench_mail store ADDRESS PORT CLIENTS COUNT USER...
 *	bench_mail fetch ADDRESS PORT CLIENTS ROUNDS USER...
 *
 * lmtp, smtp: COUNT messages of 8 KiB, over a connection for each client, to the users in turn.
 * store: each client sets or clears \Flagged of the first message of a user's INBOX, COUNT times in
 *all. fetch: each client reads every body of the users that fall to it; the time noted is of one
 *message.
 */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY = 8192, USERS_MAX = 256, MESSAGES_MAX = 200000 };

struct load {
    struct sockaddr_in to;
    const char *greeting; /* LHLO or EHLO; NULL: IMAP */
    size_t each, n_users;
    char **users;
    unsigned clients;
};

static FILE *in, *out;
static char line[65536];
static size_t left_of_literal;

static void connect_to(const struct load *l) {
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (const struct sockaddr *)&l->to, sizeof l->to) != 0)
        die("connect", "to the server");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    in = fdopen(s, "r");
    out = fdopen(dup(s), "w");
    if (in == NULL || out == NULL)
        die("memory", "of a connection");
}

static void say(const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vfprintf(out, format, ap);
    va_end(ap);
    fflush(out);
}

static void refused(void) {
    errno = EPROTO;
    die("the server says:", line);
}

static void hear(void) {
    if (fgets(line, sizeof line, in) == NULL) {
        errno = ECONNRESET;
        die("connection", "closed by the server");
    }
}

/* ---- SMTP and LMTP ------------------------------------------------------------------- */

static void expect(const char *code) {
    do
        hear();
    while (line[3] == '-');
    if (strncmp(line, code, 3) != 0)
        refused();
}

static void ready_to_send(struct run *r, unsigned worker, void *arg) {
    const struct load *l = arg;
    connect_to(l);
    expect("220");
    say("%s bench\r\n", l->greeting);
    expect("250");
}

static void send_one(const struct load *l, unsigned worker, size_t i) {
    static char body[BODY + 128];
    if (body[0] == '\0')
        for (size_t n = 0; n < BODY; n += 64)
            memcpy(body + n, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n",
                   65);
    say("MAIL FROM:<from@lab.test>\r\n");
    expect("250");
    say("RCPT TO:<%s@lab.test>\r\n", l->users[(worker + i * l->clients) % l->n_users]);
    expect("250");
    say("DATA\r\n");
    expect("354");
    say("From: <from@lab.test>\r\nTo: <to@lab.test>\r\nSubject: %zu\r\n"
        "Message-ID: <%d.%u.%zu@bench>\r\n\r\n%s.\r\n",
        i, (int)getppid(), worker, i, body);
    expect("250");
}

static void send_all(struct run *r, unsigned worker, void *arg) {
    const struct load *l = arg;
    for (size_t i = 0; i < l->each; i++) {
        uint64_t began = clock_now();
        send_one(l, worker, i);
        run_note(r, worker, began);
    }
}

/* ---- IMAP ---------------------------------------------------------------------------- */

/* A line, and the literals in it: their bytes are passed over. 1: it is the tagged answer. */
static int imap_line(void) {
    for (;;) {
        hear();
        const char *brace = strrchr(line, '{');
        size_t n = brace != NULL ? strtoul(brace + 1, NULL, 10) : 0;
        if (n == 0 || strcmp(brace + strcspn(brace, "}"), "}\r\n") != 0)
            return line[0] == 'x';
        for (left_of_literal = n; left_of_literal > 0;) {
            size_t part = left_of_literal < sizeof line ? left_of_literal : sizeof line;
            if (fread(line, 1, part, in) != part)
                die("connection", "closed in a literal");
            left_of_literal -= part;
        }
    }
}

/* Number of untagged lines of the answer. */
static size_t imap(const char *format, const char *arg) {
    size_t n = 0;
    fputs("x ", out);
    say(format, arg);
    say("\r\n");
    while (!imap_line())
        n++;
    if (strncmp(line, "x OK", 4) != 0)
        refused();
    return n;
}

static void imap_open(const struct load *l, const char *user) {
    connect_to(l);
    hear();
    imap("LOGIN %s x", user);
    imap("SELECT INBOX", "");
}

static void ready_to_store(struct run *r, unsigned worker, void *arg) {
    const struct load *l = arg;
    imap_open(l, l->users[worker % l->n_users]);
}

static void store_all(struct run *r, unsigned worker, void *arg) {
    const struct load *l = arg;
    for (size_t i = 0; i < l->each; i++) {
        uint64_t began = clock_now();
        imap("STORE 1 %s (\\Flagged)", i % 2 == 0 ? "+FLAGS" : "-FLAGS");
        run_note(r, worker, began);
    }
}

static void fetch_all(struct run *r, unsigned worker, void *arg) {
    const struct load *l = arg;
    for (size_t u = worker; u < l->n_users; u += l->clients) {
        imap_open(l, l->users[u]);
        for (size_t k = 0; k < l->each; k++) {
            uint64_t began = clock_now();
            size_t n = imap("FETCH 1:* (UID BODY.PEEK[])", "");
            uint64_t one = (clock_now() - began) / (n > 0 ? n : 1);
            for (size_t i = 0; i < n; i++)
                run_note_ns(r, worker, one);
        }
        imap("LOGOUT", "");
        fclose(in);
        fclose(out);
    }
}

int main(int argc, char **argv) {
    if (argc < 7 || argc - 6 > USERS_MAX) {
        fprintf(stderr,
                "usage: bench_mail lmtp|smtp|store|fetch ADDRESS PORT CLIENTS COUNT USER...\n");
        return 2;
    }
    const char *what = argv[1];
    struct load l = {
        .clients = (unsigned)number(argv[4], 1), .users = argv + 6, .n_users = (size_t)argc - 6};
    size_t count = number(argv[5], 1);
    l.to.sin_family = AF_INET;
    l.to.sin_port = htons((uint16_t)number(argv[3], 1));
    if (inet_pton(AF_INET, argv[2], &l.to.sin_addr) != 1)
        die("address", argv[2]);
    l.greeting = strcmp(what, "lmtp") == 0 ? "LHLO" : "EHLO";
    l.each = strcmp(what, "fetch") == 0 ? count : count / l.clients;
    struct run *r = run_new(l.clients, strcmp(what, "fetch") == 0 ? MESSAGES_MAX : l.each);
    if (strcmp(what, "fetch") == 0)
        run_all(r, NULL, fetch_all, &l);
    else if (strcmp(what, "store") == 0)
        run_all(r, ready_to_store, store_all, &l);
    else
        run_all(r, ready_to_send, send_all, &l);
    run_print(r);
    return 0;
}
