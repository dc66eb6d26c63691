/* test_ctl - what mailfsctl asks of syncd, and how it says the answer */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "conf/conf.h"
#include "net/local.h"
#include "tools/commands.h"
#include "tools/human.h"
#include "tools/query.h"
#include "tools/screen.h"

#define FP "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static char dir[64], sock[128];
static struct conf *conf;

/* ---- figures ------------------------------------------------------------------------------------
 */

static void test_durations(void **state) {
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {-5, "0 s"},          {0, "0 s"},
        {0.04, "0 s"},        {0.4, "0.4 s"},
        {9.9, "9.9 s"},       {9.96, "9 s"},
        {119, "119 s"},       {120, "2 min"},
        {3599, "59 min"},     {3600, "1 h 0 min"},
        {8000, "2 h 13 min"}, {86400, "1 d 0 h"},
        {273600, "3 d 4 h"},  {1e300, "11574074074 d 1 h"},
    };
    char buf[HUMAN_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(human_duration(cases[i].seconds, buf), cases[i].text);
}

static void test_bytes_and_counts(void **state) {
    char buf[HUMAN_MAX];

    assert_string_equal(human_bytes(0, buf), "0 bytes");
    assert_string_equal(human_bytes(1, buf), "1 byte");
    assert_string_equal(human_bytes(1023, buf), "1023 bytes");
    assert_string_equal(human_bytes(1024, buf), "1.0 KiB");
    assert_string_equal(human_bytes(35328, buf), "34.5 KiB");
    assert_string_equal(human_bytes(1048575, buf), "1.0 MiB");
    assert_string_equal(human_bytes(UINT64_MAX, buf), "16.0 EiB");
    assert_string_equal(human_count(1, "message", "messages", buf), "1 message");
    assert_string_equal(human_count(0, "message", "messages", buf), "0 messages");
    assert_string_equal(human_count(1204, "message", "messages", buf), "1,204 messages");
    assert_string_equal(human_count(100000, "m", "m", buf), "100,000 m");
    assert_string_equal(human_text("a\033[2Jb\n", buf, sizeof(buf)), "a?[2Jb?");
    assert_string_equal(human_text(NULL, buf, sizeof(buf)), "");
    assert_string_equal(human_text("abcdef", buf, 4), "abc");
}

/* ---- the screen
 * ----------------------------------------------------------------------------------- */

static void shows(const char *json, const char *expected) {
    json_object *doc = json_tokener_parse(json);
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(doc);
    screen_print(f, doc, 100000);
    fclose(f);
    assert_string_equal(text, expected);
    free(text);
    json_object_put(doc);
}

static void test_in_sync(void **state) {
    shows("{\"node\":\"mx-a\",\"volumes\":[{\"name\":\"mail\",\"state\":\"in-sync\",\"peer\":\"mx-"
          "b\","
          "\"since\":92000,\"lag_seconds\":0,\"pending_messages\":0,\"pending_bytes\":0,"
          "\"tokens_held\":12,\"mount\":\"/srv/mail\",\"peer_address\":\"10.77.0.2:7400\","
          "\"link_up\":true,\"round_trip_ms\":0.412,"
          "\"last_error\":\"10.77.0.2:7400: silent\",\"last_error_at\":99000}]}",
          "node mx-a\n"
          "\n"
          "volume mail: in-sync with mx-b for 2 h 13 min\n"
          "  mount           /srv/mail\n"
          "  link            10.77.0.2:7400, round trip 0.4 ms\n"
          "  not on mx-b     nothing\n"
          "  tokens here     12 mailboxes\n"
          "  last error      16 min ago: 10.77.0.2:7400: silent\n");
}

static void test_alone(void **state) {
    shows(
        "{\"node\":\"mx-a\",\"volumes\":[{\"name\":\"mail\",\"state\":\"alone\",\"peer\":\"mx-b\","
        "\"since\":99700,\"lag_seconds\":250.4,\"pending_messages\":1204,"
        "\"pending_bytes\":35328,\"tokens_held\":1,\"mount\":\"/srv/mail\","
        "\"peer_address\":\"10.77.0.2:7400\",\"link_up\":false,\"round_trip_ms\":null,"
        "\"notes\":[\"3 mailboxes were changed on both nodes\"],\"last_error\":null}]}",
        "node mx-a\n"
        "\n"
        "volume mail: ALONE, without mx-b for 5 min\n"
        "  mount           /srv/mail\n"
        "  not on mx-b     1,204 messages, 34.5 KiB, the oldest change for 4 min\n"
        "  tokens here     1 mailbox\n"
        "  note            3 mailboxes were changed on both nodes\n");
}

/* What went wrong with a link yesterday is not what is wrong now. */
static void test_standbys(void **state) {
    shows("{\"node\":\"mx-a\",\"volumes\":[{\"name\":\"mail\",\"state\":\"no-peer\",\"peer\":null,"
          "\"role\":\"active\",\"links\":["
          "{\"node\":\"mx-c\",\"state\":\"in-sync\",\"role\":\"standby\",\"lag_seconds\":0,"
          "\"last_error\":\"Connection refused\",\"last_error_at\":92000},"
          "{\"node\":\"mx-d\",\"state\":\"alone\",\"role\":\"active\",\"last_error\":null}]}]}",
          "node mx-a\n"
          "\n"
          "volume mail: no-peer\n"
          "  standby mx-c     in-sync\n"
          "    last error    2 h 13 min ago: Connection refused\n"
          "  standby mx-d     not connected; was active, too, when it last was\n");
}

static void test_no_peer_and_two_volumes(void **state) {
    shows("{\"node\":\"n\",\"volumes\":[{\"name\":\"a\",\"state\":\"no-peer\",\"peer\":null},"
          "{\"name\":\"b\",\"state\":\"unknown\",\"peer\":\"p\",\"last_error\":\"not running\"}]}",
          "node n\n"
          "\n"
          "volume a: no-peer\n"
          "\n"
          "volume b: unknown\n"
          "  because         not running\n");
}

/* Whatever comes: no crash, and nothing forged on the terminal. */
static void test_odd_documents(void **state) {
    shows("{}", "node \n");
    shows("[1]", "node \n");
    shows("{\"node\":5,\"volumes\":{}}", "node \n");
    shows("{\"node\":\"n\",\"volumes\":[null,7]}",
          "node n\n\nvolume : unknown\n\nvolume : unknown\n");
    shows("{\"node\":\"n\",\"volumes\":[{\"name\":\"a\\nvolume b: in-sync\",\"state\":\"alone\","
          "\"peer\":\"\\u001b[31m\",\"since\":\"x\",\"lag_seconds\":[],\"notes\":[1,{}]}]}",
          "node n\n"
          "\n"
          "volume a?volume b: in-sync: ALONE, without ?[31m\n"
          "  not on ?[31m    nothing\n");
}

/* ---- asking -------------------------------------------------------------------------------------
 */

struct fake {
    int listener;
    const char *answer; /* NULL: hang up */
    char asked[64];
};

/* A syncd that answers one request. */
static void *fake_syncd(void *arg) {
    struct fake *f = arg;
    struct pollfd p = {.fd = f->listener, .events = POLLIN};
    ssize_t n;
    int fd;

    poll(&p, 1, 10000);
    fd = local_accept(f->listener, NULL);
    local_set_nonblocking(fd, false);
    n = local_recv(fd, f->asked, sizeof(f->asked) - 1, NULL);
    f->asked[n > 0 ? n : 0] = '\0';
    if (f->answer)
        local_send(fd, f->answer, strlen(f->answer), -1);
    close(fd);
    return NULL;
}

static json_object *ask(const char *answer, bool *answered) {
    struct fake f = {.listener = local_listen(sock), .answer = answer};
    json_object *doc, *list = NULL;
    pthread_t thread;

    assert_true(f.listener >= 0);
    assert_int_equal(pthread_create(&thread, NULL, fake_syncd, &f), 0);
    doc = query_status(conf, NULL, answered);
    pthread_join(thread, NULL);
    close(f.listener);
    assert_string_equal(f.asked, "status");
    assert_string_equal(query_string(doc, "node"), "mx-a");
    assert_true(json_object_object_get_ex(doc, "volumes", &list));
    assert_int_equal(json_object_array_length(list), 1);
    return doc;
}

static json_object *volume_of(json_object *doc) {
    json_object *list = NULL;

    json_object_object_get_ex(doc, "volumes", &list);
    return json_object_array_get_idx(list, 0);
}

static void test_answer(void **state) {
    bool answered = false;
    json_object *doc =
        ask("{\"node\":\"mx-a\",\"volumes\":[{\"name\":\"other\",\"state\":\"alone\"},"
            "{\"name\":\"mail\",\"state\":\"in-sync\",\"extra\":1}]}",
            &answered);
    json_object *extra = NULL;

    assert_true(answered);
    assert_string_equal(query_string(volume_of(doc), "state"), "in-sync");
    assert_true(json_object_object_get_ex(volume_of(doc), "extra", &extra));
    json_object_put(doc);
}

static void expect_unknown(json_object *doc, bool answered, const char *word) {
    const char *error = query_string(volume_of(doc), "last_error");

    assert_false(answered);
    assert_string_equal(query_string(volume_of(doc), "state"), "unknown");
    if (!error || !strstr(error, word))
        fail_msg("\"%s\" does not say \"%s\"", error ? error : "(nothing)", word);
    json_object_put(doc);
}

static void test_no_answer(void **state) {
    bool answered = true;
    json_object *doc = query_status(conf, NULL, &answered);

    expect_unknown(doc, answered, "not running");
    close(local_listen(sock)); /* a socket that a dead syncd left */
    doc = query_status(conf, NULL, &answered);
    expect_unknown(doc, answered, "not running");
}

static void test_bad_answers(void **state) {
    static const char *const bad[] = {"hello",
                                      "{",
                                      "[]",
                                      "{\"volumes\":[]}",
                                      "{\"volumes\":[{\"name\":\"mali\"}]}",
                                      "{\"volumes\":[1]}"};
    bool answered;
    json_object *doc;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        doc = ask(bad[i], &answered);
        expect_unknown(doc, answered, "not understood");
    }
    doc = ask(NULL, &answered);
    expect_unknown(doc, answered, "reset");
}

/* ---- the commands -------------------------------------------------------------------------------
 */

/* Run one with its output caught; what it printed (stdout and stderr) is in said[]. */
static char said[8192];

static int run(int (*command)(const struct ctl_args *), const struct ctl_args *args) {
    FILE *f = tmpfile();
    int out = dup(1), err = dup(2), rc;
    size_t n;

    fflush(NULL);
    dup2(fileno(f), 1);
    dup2(fileno(f), 2);
    rc = command(args);
    fflush(NULL);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    rewind(f);
    n = fread(said, 1, sizeof(said) - 1, f);
    said[n] = '\0';
    fclose(f);
    return rc;
}

static void says(const char *words) {
    if (!strstr(said, words))
        fail_msg("\"%s\" does not say \"%s\"", said, words);
}

/* A configuration whose state directory is dir/x/state, of a peer with that fingerprint or none. */
static struct conf *make_conf(const char *peer_fp) {
    char text[2048], err[CONF_ERR_MAX], peer[512] = "";
    struct conf *c = NULL;

    if (peer_fp)
        snprintf(peer, sizeof(peer),
                 " peer \"mx-b\" {\n address = \"127.0.0.1:2\"\n fingerprint = \"%s\"\n }\n",
                 peer_fp);
    snprintf(text, sizeof(text),
             "node = \"mx-a\"\nvolume \"mail\" {\n store = \"/a\"\n mount = \"/b\"\n"
             " state = \"%s/x/state\"\n listen = \"[fd00::1]:7401\"\n%s}\n",
             dir, peer);
    if (conf_parse("f", text, &c, err) != 0)
        fail_msg("%s", err);
    return c;
}

static void test_init(void **state) {
    struct ctl_args args = {.conf = make_conf(NULL)};
    char fingerprint[128], path[256];
    struct conf *own;
    struct stat st;

    assert_int_equal(run(command_fingerprint, &args), CTL_FAILED);
    says("mailfsctl init");
    assert_int_equal(run(command_init, &args), CTL_DONE);
    says("peer \"mx-a\" {");
    says("address     = \"[fd00::1]:7401\"");
    snprintf(path, sizeof(path), "%s/x/state", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(run(command_fingerprint, &args), CTL_DONE);
    snprintf(fingerprint, sizeof(fingerprint), "%.*s", (int)strcspn(said, "\n"), said);
    assert_int_equal(strlen(fingerprint), 50);
    assert_int_equal(run(command_init, &args), CTL_DONE);
    says("kept");
    says(fingerprint);
    /* one's own fingerprint in the peer's place */
    assert_int_equal(run(command_check_config, &args), CTL_DONE);
    says("f: ok");
    own = make_conf(fingerprint);
    assert_int_equal(run(command_check_config, &(struct ctl_args){.conf = own}), CTL_USAGE);
    says("this node's own");
    conf_free(own);
    conf_free((struct conf *)(uintptr_t)args.conf);
    snprintf(path, sizeof(path), "rm -r %s/x", dir);
    assert_int_equal(system(path), 0);
}

static void test_init_fails_in_words(void **state) {
    struct ctl_args args = {.conf = make_conf(NULL)};
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/x", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(run(command_init, &args), CTL_FAILED);
    says(path);
    unlink(path);
    conf_free((struct conf *)(uintptr_t)args.conf);
}

static void test_wait(void **state) {
    char in_sync[] = "in-sync", asleep[] = "asleep", *state_name = in_sync;
    struct ctl_args args = {
        .conf = conf, .operands = &state_name, .n_operands = 1, .timeout = 0.05};
    struct fake f = {.listener = -1,
                     .answer = "{\"volumes\":[{\"name\":\"mail\",\"state\":\"in-sync\"}]}"};
    pthread_t thread;

    assert_int_equal(run(command_wait, &args), CTL_TIMED_OUT);
    says("volume mail is unknown");
    f.listener = local_listen(sock);
    args.timeout = 10;
    assert_int_equal(pthread_create(&thread, NULL, fake_syncd, &f), 0);
    assert_int_equal(run(command_wait, &args), CTL_DONE);
    pthread_join(thread, NULL);
    close(f.listener);
    state_name = asleep;
    assert_int_equal(run(command_wait, &args), CTL_USAGE);
}

static void test_status_command(void **state) {
    struct ctl_args args = {.conf = conf, .json = true};
    json_object *doc;

    assert_int_equal(run(command_status, &args), CTL_FAILED);
    doc = json_tokener_parse(said); /* still a document */
    assert_string_equal(query_string(volume_of(doc), "state"), "unknown");
    json_object_put(doc);
    args.json = false;
    assert_int_equal(run(command_status, &args), CTL_FAILED);
    says("mailfs-syncd is not running");
}

/* ---- the suite
 * ------------------------------------------------------------------------------------- */

static int setup(void **state) {
    char text[1024], err[CONF_ERR_MAX];

    strcpy(dir, "/tmp/mailfs-test-ctl.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(sock, sizeof(sock), "%s/" QUERY_SOCKET, dir);
    snprintf(
        text, sizeof(text),
        "node = \"mx-a\"\nvolume \"mail\" {\n store = \"/a\"\n mount = \"/b\"\n state = \"%s\"\n"
        " listen = \"127.0.0.1:1\"\n peer \"mx-b\" {\n address = \"127.0.0.1:2\"\n"
        " fingerprint = \"" FP "\"\n }\n}\n",
        dir);
    if (conf_parse("f", text, &conf, err) != 0) {
        print_error("%s\n", err);
        return -1;
    }
    return 0;
}

static int teardown(void **state) {
    conf_free(conf);
    unlink(sock);
    return rmdir(dir);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bytes_and_counts),
        cmocka_unit_test(test_in_sync),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_standbys),
        cmocka_unit_test(test_no_peer_and_two_volumes),
        cmocka_unit_test(test_odd_documents),
        T(test_answer),
        T(test_no_answer),
        T(test_bad_answers),
        T(test_init),
        T(test_init_fails_in_words),
        T(test_wait),
        T(test_status_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
