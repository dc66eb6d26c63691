/* waits.c: around a case; see waits.h */
#include "waits.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CASE_SECONDS = 30 };

pid_t daemon_pid;

static const char *mailfs;
static char top[256];

const char *in_top(const char *name) {
    static char buf[512];
    snprintf(buf, sizeof buf, "%s/%s", top, name);
    return buf;
}

const char *in_mount(const char *name) {
    static char buf[4][512];
    static unsigned n;
    char *p = buf[n++ % 4];
    snprintf(p, sizeof buf[0], "%s/mount/%s", top, name);
    return p;
}

const char *in_store(const char *name) {
    static char buf[512];
    snprintf(buf, sizeof buf, "%s/store/%s", top, name);
    return buf;
}

static void write_conf(const char *path) {
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fprintf(
        f,
        "node = \"mx-a\"\nvolume \"mail\" {\n store = \"%s/store\"\n mount = \"%s/mount\"\n"
        " state = \"%s/state\"\n listen = \"127.0.0.1:7999\"\n peer \"mx-b\" {\n"
        "  address = \"127.0.0.1:7998\"\n  fingerprint = \"SHA256:%s\"\n  timeout = %d\n }\n}\n",
        top, top, top, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", PEER_TIMEOUT_S);
    CHECK(fclose(f) == 0);
}

static void start_mailfs(const char *conf, const char *die, const char *stop) {
    daemon_pid = fork();
    CHECK(daemon_pid >= 0);
    if (daemon_pid == 0) {
        int fd = open(in_top("mailfs.log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, STDERR_FILENO);
        alarm(0);
        if (die != NULL)
            setenv("MAILFS_DIE", die, 1);
        if (stop != NULL)
            setenv("MAILFS_STOP", stop, 1);
        execl(mailfs, mailfs, "-f", "-c", conf, (char *)NULL);
        _exit(127);
    }
}

static void await_mount(void) {
    struct stat above, at;
    CHECK(stat(top, &above) == 0);
    for (long until = now_ms() + 5000; now_ms() < until;) {
        if (stat(in_mount(""), &at) == 0 && at.st_dev != above.st_dev)
            return;
        CHECK(waitpid(daemon_pid, NULL, WNOHANG) == 0);
        poll(NULL, 0, 5);
    }
    fake_fail(__FILE__, __LINE__, "no mount");
}

static void run_case(const struct wait_case *c) {
    char conf[300];
    snprintf(conf, sizeof conf, "%s", in_top("conf"));
    CHECK(mkdir(in_store(""), 0755) == 0 && mkdir(in_mount(""), 0755) == 0);
    CHECK(mkdir(in_top("state"), 0700) == 0);
    write_conf(conf);
    fake_listen(in_top("state"));
    start_mailfs(conf, c->die, c->stop);
    await_mount();
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->version == 1 && strcmp(h->volume, "mail") == 0 && h->n_locked == 0 && h->clean);
    c->run();
    CHECK(kill(daemon_pid, SIGTERM) == 0);
    int status;
    CHECK(waitpid(daemon_pid, &status, 0) == daemon_pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    _exit(0);
}

static void show_log(void) {
    char line[1200];
    FILE *f = fopen(in_top("mailfs.log"), "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        printf("# %s", line);
    if (f != NULL)
        fclose(f);
}

/* The case is a process group of its own, so that nothing of it outlives it. */
static bool supervise(const struct wait_case *c) {
    char command[400];
    int status = 0;
    snprintf(top, sizeof top, "/tmp/mailfs-waits-XXXXXX");
    CHECK(mkdtemp(top) != NULL);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        alarm(CASE_SECONDS);
        run_case(c);
    }
    waitpid(pid, &status, 0);
    kill(-pid, SIGKILL);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    umount2(in_mount(""), MNT_DETACH);
    if (!ok)
        show_log();
    snprintf(command, sizeof command, "rm -rf --one-file-system %s", top);
    if (system(command) != 0)
        printf("# %s is left\n", top);
    return ok;
}

int waits_main(int argc, char **argv, const struct wait_case *cases) {
    int failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MAILFS [CASE...]\n", argv[0]);
        return 2;
    }
    mailfs = argv[1];
    for (const struct wait_case *c = cases; c->name != NULL; c++) {
        bool wanted = argc == 2;
        for (int k = 2; k < argc; k++)
            wanted |= strcmp(argv[k], c->name) == 0;
        if (!wanted)
            continue;
        bool ok = supervise(c);
        printf("%s waits.%s\n", ok ? "PASS" : "FAIL", c->name);
        failed += !ok;
    }
    return failed != 0;
}
