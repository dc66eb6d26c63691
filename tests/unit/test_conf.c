/*
 * test_conf - the configuration file: what is read, what is refused, and how that is said
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/role.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define FP     "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" /* of the bytes 0, 1, ... 31 */

static const char example[] = "node = \"mx-a\"                      # default: the host name\n"
                              "volume \"mail\" {\n"
                              "    store  = \"/var/lib/mailfs/mail\"\n"
                              "    mount  = \"/srv//mail/\"\n"
                              "    state  = \"/var/lib/mailfs/state\"   # keys; 0700\n"
                              "    listen = \"10.77.0.1:7400\"\n"
                              "    commit = \"memory\"                # disk | memory | async\n"
                              "    peer \"mx-b\" {\n"
                              "        address     = \"[2001:db8::2]:7401\"\n"
                              "        fingerprint = \"" FP "\"\n"
                              "        timeout     = 2.5            # seconds\n"
                              "        bandwidth   = 10M\n"
                              "        compress    = on\n"
                              "    }\n"
                              "}\n";

static void test_example(void **state) {
    struct conf *c = NULL;
    char err[CONF_ERR_MAX];
    assert_int_equal(conf_parse("f", example, &c, err), 0);
    assert_string_equal(c->path, "f");
    assert_string_equal(c->node, "mx-a");
    assert_int_equal(c->n_volumes, 1);
    const struct conf_volume *v = conf_volume_find(c, NULL, err);
    assert_ptr_equal(v, &c->volumes[0]);
    assert_ptr_equal(v, conf_volume_find(c, "mail", err));
    assert_null(conf_volume_find(c, "nail", err));
    assert_string_equal(err, "f: has no volume \"nail\"");
    assert_string_equal(v->name, "mail");
    assert_string_equal(v->store, "/var/lib/mailfs/mail");
    assert_string_equal(v->mount, "/srv/mail");
    assert_string_equal(v->state, "/var/lib/mailfs/state");
    assert_true(v->has_listen);
    assert_string_equal(v->listen.host, "10.77.0.1");
    assert_int_equal(v->listen.port, 7400);
    assert_int_equal(v->commit, CONF_COMMIT_MEMORY);
    assert_string_equal(v->peer->name, "mx-b");
    assert_string_equal(v->peer->address.host, "2001:db8::2");
    assert_int_equal(v->peer->address.port, 7401);
    assert_int_equal(v->peer->timeout_ms, 2500);
    assert_int_equal(v->peer->bandwidth, 10 << 20);
    assert_int_equal(v->peer->compress, CONF_COMPRESS_ON);
    for (unsigned i = 0; i < CONF_FINGERPRINT_BYTES; i++)
        assert_int_equal(v->peer->fingerprint[i], i);
    conf_free(c);
}

static void test_defaults(void **state) {
    struct conf *c = NULL;
    char err[CONF_ERR_MAX], host[65];
    assert_int_equal(
        conf_parse("f", "volume \"v\" {\nstore = /a/s\nmount = /a/m\nstate = /a/t\n}", &c, err), 0);
    assert_int_equal(gethostname(host, sizeof host), 0);
    assert_string_equal(c->node, host);
    assert_false(c->volumes[0].has_listen);
    assert_int_equal(c->volumes[0].commit, CONF_COMMIT_DISK);
    assert_int_equal(c->volumes[0].access, CONF_ACCESS_CHECKED);
    assert_null(c->volumes[0].peer);
    conf_free(c);

    c = NULL;
    assert_int_equal(conf_parse("f",
                                "node=a\nvolume v {\nstore = /a/s\nmount = /a/m\nstate = /a/t\n"
                                "listen = \"*:1\"\npeer b { address = \"b.example:65535\"\n"
                                " fingerprint=\"" FP "\" } }\n"
                                "volume w { store=/b/s mount=/b/m state=/b/t listen=\"*:2\"\n"
                                " access = private }",
                                &c, err),
                     0);
    assert_int_equal(c->n_volumes, 2);
    assert_string_equal(c->volumes[0].listen.host, "*");
    assert_int_equal(c->volumes[0].peer->timeout_ms, 3000);
    assert_int_equal(c->volumes[0].peer->bandwidth, 0);
    assert_int_equal(c->volumes[0].peer->compress, CONF_COMPRESS_AUTO);
    assert_int_equal(c->volumes[0].keep_s, 7 * 86400);
    assert_int_equal(c->volumes[0].verify_s, 7 * 86400);
    assert_int_equal(c->volumes[0].brake, 30);
    assert_int_equal(c->volumes[0].peer->address.port, 65535);
    assert_string_equal(c->volumes[1].name, "w");
    assert_int_equal(c->volumes[1].access, CONF_ACCESS_PRIVATE);
    assert_null(conf_volume_find(c, NULL, err));
    assert_string_equal(err, "f: has 2 volumes; name the one that is meant");
    conf_free(c);
}

/* Volume v begins on line 2, its paths are lines 3 to 5, its peer begins on line 7. */
#define V      "node = a\nvolume v {\n"
#define PATHS  "store = /a/s\nmount = /a/m\nstate = /a/t\n"
#define LISTEN "listen = \"1.2.3.4:5\"\n"
#define PEER   "peer b {\n"
#define ADDR   "address = \"h:1\"\n"
#define FPRINT "fingerprint = \"" FP "\"\n"
#define END    "}\n"

/* For a value the line must be the one; for a block, in it: libconfuse's versions differ there. */
static const struct {
    int line;
    const char *words;
    const char *text;
} refused[] = {
    /* the file as such */
    {1, "no volume; add", "node = a"},
    {1, "no volume; add", ""},
    {2, "no such option 'stroe'; see mailfs.conf(5)", "volume v {\nstroe = /x\n}"},
    {1, "no such option 'volumes'", "volumes v {}"},
    {3, "no such option 'port'", "# a comment\n/* and\none */ port = 1"},
    {1, "no such option 'include'", "include(\"/etc/passwd\")"},
    {1, "missing title", "volume { }"},
    {2, "missing equal sign", "node = a\nnode b"},
    {3, "unexpected closing brace", "node = a\n\n}"},
    {6, "a block is not closed; add '}'", V PATHS},
    {7, "found duplicate title 'v'; two blocks",
     "volume v {\n" PATHS "}\n\nvolume v {\nstore = /b/s\nmount = /b/m\nstate = /b/t\n}"},
    /* names */
    {1, "node may hold only letters", "node = \"a b\"\n"},
    {2, "node may hold only letters", "\nnode = \"a/b\"\n"},
    {1, "node must have 1 to 63", "node = \"\"\n"},
    {1, "node must begin with a letter or a digit", "node = .a\n"},
    {1, "volume \"../x\": the name may hold only", "volume \"../x\" {\n" PATHS "}"},
    {1, "the name must have 1 to 63",
     "volume \"0123456789012345678901234567890123456789012345678901234567890123\" {\n" PATHS "}"},
    {7, "peer \"b c\": the name may hold only",
     V PATHS LISTEN "peer \"b c\" {\n" ADDR FPRINT END END},
    /* paths */
    {2, "volume \"v\" has no 'store'; add it", "volume v {\nmount = /m\nstate = /t\n}"},
    {2, "volume \"v\" has no 'mount'; add it", "volume v {\nstore = /m\nstate = /t\n}"},
    {2, "volume \"v\" has no 'state'; add it", "volume v {\nstore = /m\nmount = /t\n}"},
    {3, "store = \"x\": store must be an absolute path", V "store = x\n" END},
    {3, "mount must not hold '.' or '..'", V "mount = /x/../y\n" END},
    {3, "state must not hold '.' or '..'", V "state = /x/.\n" END},
    {3, "store must not be the root directory", V "store = \"//\"\n" END},
    {3, "same directory; move the mail", V "store = /m\nmount = /m/\nstate = /t\n" END},
    {3, "the store lies inside the mount", V "store = /m/s\nmount = /m\nstate = /t\n" END},
    {3, "the mount lies inside the store", V "store = /s\nmount = /s/m\nstate = /t\n" END},
    {3, "state lies inside the mount", V "store = /s\nmount = /m\nstate = /m/t\n" END},
    {3, "state lies inside the store", V "store = /s\nmount = /m\nstate = /s\n" END},
    {3, "store or mount lies inside state", V "store = /t/s\nmount = /m\nstate = /t\n" END},
    {6, "share /a/s and /a/s; give each",
     V PATHS "\n}\nvolume w {\nstore = /a/s\nmount = /b/m\nstate = /b/t\n}"},
    {6, "share /a/m and /a/m/x",
     V PATHS "\n}\nvolume w {\nstore = /a/m/x\nmount = /b/m\nstate = /b/t\n}"},
    /* access */
    {3, "access = \"open\": access must be checked or private", V "access = open\n" END},
    {5, "mode = \"watch\" has no mount that could be private",
     V "store = /a/s\nstate = /a/t\nmode = watch access = private\n}"},
    /* addresses */
    {6, "listen on the same address",
     "volume v {\n" PATHS "listen = \"*:7\"\n}\n"
     "volume w {\nstore = /b/s\nmount = /b/m\nstate = /b/t\nlisten = \"*:7\"\n}"},
    {3, "listen must be ADDRESS:PORT", V "listen = 10.0.0.1\n" END},
    {3, "listen must be ADDRESS:PORT", V "listen = \"2001:db8::1:7400\"\n" END},
    {3, "listen must be ADDRESS:PORT", V "listen = \"[2001:db8::1]\"\n" END},
    {3, "port from 1 to 65535", V "listen = \"h:0\"\n" END},
    {3, "port from 1 to 65535", V "listen = \"h:65536\"\n" END},
    {3, "port from 1 to 65535", V "listen = \"h:http\"\n" END},
    {3, "port from 1 to 65535", V "listen = \"h:\"\n" END},
    {3, "to listen on all, write", V "listen = \":7400\"\n" END},
    {8, "address must name the peer's address",
     V PATHS LISTEN PEER "address = \"*:7400\"\n" END END},
    /* the peer */
    {6, "has a peer, standby or source but no 'listen'", V PATHS PEER ADDR FPRINT END END},
    {8, "peer \"b\" has no 'address'", V PATHS LISTEN PEER FPRINT END END},
    {8, "peer \"b\" has no 'fingerprint'", V PATHS LISTEN PEER ADDR END END},
    {8, "fingerprint must be \"SHA256:\" and 43",
     V PATHS LISTEN PEER "fingerprint = \"MD5:00\"\n" END END},
    {8, "fingerprint must be \"SHA256:\" and 43", /* a character short */
     V PATHS LISTEN PEER
     "fingerprint = \"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh\"\n" END END},
    {8, "fingerprint must be \"SHA256:\" and 43", /* no base64 */
     V PATHS LISTEN PEER
     "fingerprint = \"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh=\"\n" END END},
    {8, "fingerprint must be \"SHA256:\" and 43", /* bits beyond the 256 */
     V PATHS LISTEN PEER
     "fingerprint = \"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9\"\n" END END},
    {8, "timeout must be from 1 to 300 seconds", V PATHS LISTEN PEER "timeout = 0.5\n" END END},
    {8, "timeout must be from 1 to 300 seconds", V PATHS LISTEN PEER "timeout = 301\n" END END},
    {8, "timeout must be from 1 to 300 seconds", V PATHS LISTEN PEER "timeout = nan\n" END END},
    {8, "invalid floating point value for option 'timeout'",
     V PATHS LISTEN PEER "timeout = 3s\n" END END},
    {8, "bandwidth must be bytes a second", V PATHS LISTEN PEER "bandwidth = 10X\n" END END},
    {8, "bandwidth must be bytes a second", V PATHS LISTEN PEER "bandwidth = \"-1\"\n" END END},
    {8, "bandwidth must be bytes a second", V PATHS LISTEN PEER "bandwidth = 5\n" END END},
    {8, "bandwidth must be bytes a second", V PATHS LISTEN PEER "bandwidth = M\n" END END},
    {8, "compress must be auto, on or off", V PATHS LISTEN PEER "compress = yes\n" END END},
    {8, "a second peer; a volume has one peer, others are its standbys",
     V PATHS LISTEN PEER ADDR FPRINT END "peer c {\naddress = \"i:1\"\n" FPRINT END END},
    {8, "\"a\" is the name of this node; a peer, standby or source is another one",
     V PATHS LISTEN "peer a {\n" ADDR FPRINT END END},
    {3, "commit must be disk, memory or async", V "commit = disc\n" END},
    /* one-way links */
    {3, "mode must be active, standby or watch", V "mode = passive\n" END},
    {8, "a standby has no peer; name the node it copies in a block source \"b\"",
     V PATHS LISTEN "mode = standby\n" PEER ADDR FPRINT END END},
    {6, "has a peer, standby or source but no 'listen'",
     V PATHS "standby c {\n" ADDR FPRINT END END},
    {7, "standby \"c\" has no 'address'", V PATHS LISTEN "standby c {\n" FPRINT END END},
    {8, "commit must be disk or async", V PATHS LISTEN "standby c {\ncommit = memory\n" END END},
    {7, "two blocks are about node \"b\"",
     V PATHS LISTEN PEER ADDR FPRINT END "standby b {\n" ADDR FPRINT END END},
    {7, "two blocks are about node \"c\"",
     V PATHS LISTEN "source c {\n" ADDR FPRINT END "standby c {\n" ADDR FPRINT END END},
    /* a store that is watched */
    {7, "is only watched has no peer; let another node follow it: standby \"b\"",
     V "store = /a/s\nstate = /a/t\n" LISTEN "mode = watch\n" PEER ADDR FPRINT END END},
    {7, "mode = \"watch\" has no mount: the mail daemons work in the store itself",
     V PATHS LISTEN "mode = watch\nstandby c {\n" ADDR FPRINT END END},
    {6, "volume \"v\" has no 'mount'; add it", V "store = /a/s\nstate = /a/t\n" LISTEN END},
    {7, "nobody can be made to wait",
     V "store = /a/s\nstate = /a/t\n" LISTEN "mode = watch\nstandby c {\n" ADDR FPRINT
       "commit = disk\n" END END},
    {3, "watches must be 0 (as many as there are) or at least 16", V "watches = 5\n" END},
    {7, "\"a\" is the name of this node", V PATHS LISTEN "standby a {\n" ADDR FPRINT END END},
    {3, "keep must be a time", V "keep = 7\n" END},
    {3, "keep must be a time", V "keep = 7w\n" END},
    {3, "keep must be a time", V "keep = \"-7d\"\n" END},
    {3, "keep must be a time", V "keep = 1001d\n" END},
};

static void test_refused(void **state) {
    for (size_t i = 0; i < LEN(refused); i++) {
        struct conf *c = NULL;
        char err[CONF_ERR_MAX] = "";
        int r = conf_parse("the.conf", refused[i].text, &c, err);
        int line = -1;
        if (r != -EINVAL || c != NULL || strstr(err, refused[i].words) == NULL ||
            sscanf(err, "the.conf:%d:", &line) != 1 || line < refused[i].line)
            fail_msg("case %zu: %d \"%s\", wanted line %d, \"%s\"", i, r, err, refused[i].line,
                     refused[i].words);
        bool value = strstr(err, " = ") != NULL && strstr(err, " must ") != NULL;
        if (value && line != refused[i].line)
            fail_msg("case %zu: \"%s\", wanted exactly line %d", i, err, refused[i].line);
        assert_null(strpbrk(err, "\n\r\t")); /* it goes into a log */
    }
}

static void test_links(void **state) {
    struct conf *c = NULL;
    char err[CONF_ERR_MAX];
    assert_int_equal(conf_parse("f",
                                V PATHS LISTEN PEER ADDR FPRINT END
                                "standby c {\n" ADDR FPRINT "timeout = 30\n" END
                                "standby d {\n" ADDR FPRINT END END,
                                &c, err),
                     0);
    const struct conf_volume *v = &c->volumes[0];
    assert_int_equal(v->mode, CONF_MODE_ACTIVE);
    assert_string_equal(v->peer->name, "b");
    assert_int_equal(v->n_links, 2);
    assert_string_equal(v->links[0].name, "c");
    assert_int_equal(v->links[0].timeout_ms, 30000);
    assert_string_equal(v->links[1].name, "d");
    assert_int_equal(v->links[1].timeout_ms, 10000);
    conf_free(c);
    assert_int_equal(
        conf_parse("f", V PATHS LISTEN "mode = standby\nsource b {\n" ADDR FPRINT END END, &c, err),
        0);
    assert_int_equal(c->volumes[0].mode, CONF_MODE_STANDBY);
    assert_null(c->volumes[0].peer);
    assert_int_equal(c->volumes[0].n_links, 1);
    assert_null(conf_volume_lacks(&c->volumes[0]));
    conf_free(c);
    /* before the fingerprints are exchanged */
    assert_int_equal(conf_parse("f", V PATHS LISTEN "mode = standby\n" END, &c, err), 0);
    assert_non_null(strstr(conf_volume_lacks(&c->volumes[0]), "source"));
    conf_free(c);
    assert_int_equal(
        conf_parse("f", V "store = /a/s\nstate = /a/t\n" LISTEN "mode = watch\n" END, &c, err), 0);
    assert_non_null(strstr(conf_volume_lacks(&c->volumes[0]), "standby"));
    conf_free(c);
}

/* What a promotion has decided is stronger than the configuration. */
static void test_role(void **state) {
    char dir[] = "/tmp/mailfs-role.XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    struct conf_volume v = {.state = dir, .mode = CONF_MODE_STANDBY};
    struct conf_role role = {false, 7};
    assert_int_equal(conf_role_read(&v, &role), 0);
    assert_true(role.standby);
    assert_int_equal(role.term, 0);
    role = (struct conf_role){false, 3};
    assert_int_equal(conf_role_write(&v, &role), 0);
    role = (struct conf_role){true, 0};
    assert_int_equal(conf_role_read(&v, &role), 0);
    assert_false(role.standby);
    assert_int_equal(role.term, 3);
    snprintf(path, sizeof path, "%s/role", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("passive 3\n", f);
    fclose(f);
    assert_int_equal(conf_role_read(&v, &role), -EUCLEAN);
    unlink(path);
    rmdir(dir);
}

/* After a file that ends inside a string or comment the scanner is at its beginning again. */
static void test_nothing_is_left_behind(void **state) {
    static const char *const broken[] = {"node = \"a",
                                         "node = 'a",
                                         "node = a /* ",
                                         "node = \"a\\",
                                         "volume v { store = \"${HOME",
                                         "node = \"a\n\n\n"};
    for (size_t i = 0; i < LEN(broken); i++) {
        struct conf *c = NULL;
        char err[CONF_ERR_MAX] = "";
        assert_int_equal(conf_parse("f", broken[i], &c, err), -EINVAL);
        assert_true(strncmp(err, "f:", 2) == 0);
        if (conf_parse("f", example, &c, err) != 0)
            fail_msg("after case %zu: %s", i, err);
        conf_free(c);
    }
}

static void test_load(void **state) {
    struct conf *c = NULL;
    char err[CONF_ERR_MAX], path[] = "/tmp/mailfs-conf.XXXXXX";
    assert_int_equal(conf_load("/nowhere/mailfs.conf", &c, err), -ENOENT);
    assert_string_equal(err, "/nowhere/mailfs.conf: cannot be read: No such file or directory");
    assert_int_equal(conf_load("/tmp", &c, err), -EISDIR);

    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, example, strlen(example)), strlen(example));
    assert_int_equal(conf_load(path, &c, err), 0);
    assert_string_equal(c->node, "mx-a");
    assert_string_equal(c->path, path);
    conf_free(c);

    assert_int_equal(pwrite(fd, "", 1, 7), 1);
    assert_int_equal(conf_load(path, &c, err), -EINVAL);
    assert_non_null(strstr(err, "zero byte"));
    close(fd);
    unlink(path);
}

static void test_comments(void **state) {
    static const char text[] = "# one\n// two\n/* three\n four */ node = \"mx\" // five\n"
                               "volume 'v' { # six\n store=\"/a//b\" // seven\n"
                               " mount = /c//d # e\n state = '/x#y\\'//z' /* \" */\n"
                               " bad = 1\n}";
    struct conf *c = NULL;
    char err[CONF_ERR_MAX];
    assert_int_equal(conf_parse("f", text, &c, err), -EINVAL);
    assert_string_equal(err, "f:9: no such option 'bad'; see mailfs.conf(5) for the options there "
                             "are");
    char good[sizeof text];
    memcpy(good, text, sizeof good);
    memset(strstr(good, " bad = 1"), ' ', strlen(" bad = 1"));
    assert_int_equal(conf_parse("f", good, &c, err), 0);
    assert_string_equal(c->volumes[0].store, "/a/b");
    assert_string_equal(c->volumes[0].mount, "/c/d");
    assert_string_equal(c->volumes[0].state, "/x#y'/z");
    conf_free(c);
}

/* A value of any length is cut in the message, visibly, and never the message's end. */
static void test_long_value(void **state) {
    static char text[4096];
    struct conf *c = NULL;
    char err[CONF_ERR_MAX];
    int n = snprintf(text, sizeof text, "node = \"");
    memset(text + n, 'x', sizeof text - (size_t)n - 2);
    text[sizeof text - 2] = '"';
    assert_int_equal(conf_parse("f", text, &c, err), -EINVAL);
    assert_int_equal(strlen(err), CONF_ERR_MAX - 1);
    assert_string_equal(err + CONF_ERR_MAX - 4, "...");
}

static void test_paths_within(void **state) {
    assert_true(conf_path_within("/a", "/a"));
    assert_true(conf_path_within("/a", "/a/b"));
    assert_false(conf_path_within("/a", "/ab"));
    assert_false(conf_path_within("/a/b", "/a"));
}

static void test_values(void **state) {
    static const char *const names[] = {"disk", "memory", "async"};
    struct conf_addr addr;
    const char *why = NULL;
    uint8_t fp[CONF_FINGERPRINT_BYTES];
    for (unsigned i = 0; i < LEN(names); i++)
        assert_string_equal(conf_commit_name((enum conf_commit)i), names[i]);
    assert_int_equal(conf_addr_parse("[::1]:25", &addr, &why), 0);
    assert_string_equal(addr.host, "::1");
    assert_int_equal(conf_addr_parse("[::1]25", &addr, &why), -EINVAL);
    assert_non_null(why);
    assert_int_equal(conf_fingerprint_parse(FP, fp), 0);
    assert_int_equal(fp[31], 31);
    assert_int_equal(conf_fingerprint_parse(FP "A", fp), -EINVAL);
    assert_int_equal(conf_fingerprint_parse("sha256" FP, fp), -EINVAL);
    assert_int_equal(conf_fingerprint_parse("", fp), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),    cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_links),
        cmocka_unit_test(test_role),       cmocka_unit_test(test_nothing_is_left_behind),
        cmocka_unit_test(test_load),       cmocka_unit_test(test_comments),
        cmocka_unit_test(test_long_value), cmocka_unit_test(test_paths_within),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
