/*
 * upcall - the connection to syncd: what goes out, and who waits (receiving: upcall_recv.c)
 *
 * Two threads: one dials (STATE/syncd.sock, again every DIAL_MS) and receives, one sends what does
 * not fit into the socket at once. One lock.
 *
 * A packet is in the socket when the function that tells it returns, unless others wait before it:
 * what is in the socket outlives this worker. Whether anything waits is noted for the next one
 * (keep.h): it does not know what that was, and syncd has to look for it by the marks.
 *
 * Diagnostics: info: connected. warning: lost; there is none; the queue is full. error: an event
 * that cannot be packed.
 */
#include "upcall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#include "change.h"
#include "keep.h"
#include "lock.h"
#include "named.h"
#include "net/local.h"
#include "note.h"
#include "notify.h"
#include "upcall_int.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "util/workq.h"
#include "vol.h"
#include "watch.h"
#include "wire/check.h"
#include "wire/codec.h"

/* Nobody waits longer than HUNG_TIMEOUTS of the peer's timeout for a syncd that is stuck. */
enum { DIAL_MS = 100, HUNG_TIMEOUTS = 10, STORE_THREADS = 8, STORE_JOBS = 65536 };

struct packet {
    struct packet *prev, *next;
    int fd;
    size_t len;
    uint8_t data[];
};

struct question {
    uint64_t number;
    uint64_t asked_ms;
    upcall_fn *fn;
    void *arg;
    UT_hash_handle hh;
};

/* HOPING: none was there yet, and what is asked waits for it until `hope_until`. */
enum state { HOPING, DOWN, UP };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER; /* for the sender */
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER; /* the sender has let go of the socket */
static enum state state = DOWN;
static uint64_t hope_until;
static bool stopping, sending;
static bool untold_before; /* the worker before this one died with events untold */
static bool heard;         /* syncd has said something on this connection */
static bool unheard;       /* there was a time without, before this connection */
static bool given_up;      /* this connection, by us */
static int conn = -1, stop_fd = -1;
static int doubt = -1; /* an eventfd of this connection's: syncd has counted up */
static struct packet *queue;
static size_t queued, queued_bytes;
static uint32_t dropped; /* packets syncd will never see, not reported yet */
static uint64_t next_seq = 1;
static struct question *questions;
static _Atomic uint64_t last_number;
static char socket_path[4096];
static pthread_t receiver_thread, sender_thread;
static struct workq *store_queue;

/* --- the queue: under the lock -------------------------------------------------------------------
 */

static void packet_free(struct packet *p) {
    if (p->fd >= 0)
        close(p->fd);
    free(p);
}

/* NULL: it cannot be packed, or no memory. fd is the packet's then, else the caller's. */
static struct packet *packet_make(const Mfl__ToSyncd *m, int fd) {
    Mfl__ToSyncd numbered = *m;
    size_t room = mfl__to_syncd__get_packed_size(m) + 16; /* and the number */
    struct packet *p = malloc(sizeof *p + room);
    if (p == NULL)
        return NULL;
    numbered.seq = next_seq++;
    ssize_t n = wire_to_syncd_pack(&numbered, p->data, room);
    if (n < 0) {
        log_error_limited("an event for syncd cannot be packed (%s): %s", wire_to_syncd_kind(m),
                          log_strerror((int)n));
        free(p);
        return NULL;
    }
    p->len = (size_t)n;
    p->fd = fd;
    return p;
}

/* Under the lock, after what it depends on has changed. */
static void untold_note(void) {
    uint32_t is = untold_before || queue != NULL || sending || dropped > 0;
    if (atomic_load(&keep.head->untold) != is)
        atomic_store(&keep.head->untold, is);
}

static void queue_add(struct packet *p) {
    DL_APPEND(queue, p);
    queued++;
    queued_bytes += p->len;
    untold_note();
    pthread_cond_signal(&work);
}

static void queue_add_lost(void) {
    Mfl__Lost lost = MFL__LOST__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    lost.dropped = dropped;
    m.m_case = MFL__TO_SYNCD__M_LOST;
    m.lost = &lost;
    struct packet *p = packet_make(&m, -1);
    if (p != NULL) {
        queue_add(p);
        dropped = 0;
    }
}

static void queue_drop(void) {
    struct packet *p, *next;
    DL_FOREACH_SAFE(queue, p, next) {
        DL_DELETE(queue, p);
        packet_free(p);
        dropped++;
    }
    queued = 0;
    queued_bytes = 0;
    untold_note();
}

static void questions_release(void) {
    static const struct upcall_answer alone = {.alone = true};
    struct question *q, *next;
    HASH_ITER(hh, questions, q, next) {
        HASH_DEL(questions, q);
        q->fn(q->arg, &alone, false);
        free(q);
    }
}

/* All that waits is answered at once: mail goes on without the peer. Under the lock. */
static void go_down(void) {
    state = DOWN;
    queue_drop();
    questions_release();
}

/* It goes on, and may give tokens away: what it has said of them is void, also what is read from
 * the socket only now. Under the lock. */
static void give_up(void) {
    given_up = true;
    if (conn >= 0)
        shutdown(conn, SHUT_RDWR); /* the receiver sees the end */
    lock_forget_hints();
}

void upcall_give_up(void) {
    pthread_mutex_lock(&lock);
    give_up();
    pthread_mutex_unlock(&lock);
}

void upcall_token(const struct mailfs_id *id, bool held) {
    pthread_mutex_lock(&lock);
    if (!given_up)
        lock_token_hint(id, held);
    pthread_mutex_unlock(&lock);
}

static void queue_overflow(void) {
    log_warn("syncd does not keep up: events dropped, mailboxes will be compared anew");
    give_up();
    go_down();
}

/* false: dropped; fd is the caller's then. */
static bool queue_put(const Mfl__ToSyncd *m, int fd) {
    if (state != DOWN && (queued >= UPCALL_QUEUE_PACKETS || queued_bytes >= UPCALL_QUEUE_BYTES))
        queue_overflow();
    if (state == UP && dropped > 0)
        queue_add_lost();
    struct packet *p = state == DOWN ? NULL : packet_make(m, fd);
    if (p == NULL) {
        dropped++;
        untold_note();
        return false;
    }
    if (state == UP && queue == NULL && !sending &&
        local_try_send(conn, p->data, p->len, p->fd) == 0)
        packet_free(p);
    else
        queue_add(p); /* an error is seen when it is sent */
    return true;
}

/* --- telling and asking
 * ------------------------------------------------------------------------------ */

void upcall_tell(const Mfl__ToSyncd *m) {
    pthread_mutex_lock(&lock);
    queue_put(m, -1);
    pthread_mutex_unlock(&lock);
}

void upcall_lost(void) {
    pthread_mutex_lock(&lock);
    dropped++;
    if (state == UP)
        queue_add_lost(); /* nothing else may come for long */
    untold_note();
    pthread_mutex_unlock(&lock);
}

uint64_t upcall_number(void) {
    return atomic_fetch_add(&last_number, 1) + 1;
}

bool upcall_ask(const Mfl__ToSyncd *m, uint64_t number, int fd, upcall_fn *fn, void *arg) {
    static const struct upcall_answer alone = {.alone = true};
    struct question *q = calloc(1, sizeof *q);
    pthread_mutex_lock(&lock);
    bool asked = q != NULL && vol.has_syncd && queue_put(m, fd);
    if (asked) {
        *q = (struct question){.number = number, .asked_ms = clock_ms(), .fn = fn, .arg = arg};
        HASH_ADD(hh, questions, number, sizeof q->number, q);
    } else {
        fn(arg, &alone, true);
    }
    pthread_mutex_unlock(&lock);
    if (!asked) {
        free(q);
        if (fd >= 0)
            close(fd);
    }
    return asked;
}

/*
 * Only the thread that receives calls this, and only it begins a connection: no Hello comes between
 * a question that is off the list and what its answer changes. So the lock is not held meanwhile:
 * a reply wakes its caller, which can take 20 microseconds (docs/SCALING.md, "Waking"), and all who
 * have something to tell would wait for that.
 */
void upcall_answered(uint64_t number, const struct upcall_answer *a) {
    struct question *q;
    pthread_mutex_lock(&lock);
    HASH_FIND(hh, questions, &number, sizeof number, q);
    if (q != NULL)
        HASH_DEL(questions, q);
    pthread_mutex_unlock(&lock);
    if (q != NULL)
        q->fn(q->arg, a, false);
    free(q);
}

void upcall_working(uint64_t number) {
    struct question *q;
    pthread_mutex_lock(&lock);
    HASH_FIND(hh, questions, &number, sizeof number, q);
    if (q != NULL)
        q->asked_ms = clock_ms();
    pthread_mutex_unlock(&lock);
}

/*
 * syncd bounds what it waits for, and says so while it goes on; this is for one that is stopped or
 * stuck itself. One that has not even said Welcome gets less time, so that a stuck one is not
 * waited for again and again.
 */
bool upcall_is_hung(void) {
    uint64_t now = clock_ms(), oldest = now;
    pthread_mutex_lock(&lock);
    for (const struct question *q = questions; q != NULL; q = q->hh.next)
        oldest = q->asked_ms < oldest ? q->asked_ms : oldest;
    uint64_t limit = vol.has_syncd ? vol.timeout_ms : 0;
    bool hung = now - oldest > (heard ? HUNG_TIMEOUTS * limit : limit);
    pthread_mutex_unlock(&lock);
    if (hung)
        log_error("syncd does not answer: going on without it");
    return hung;
}

void upcall_heard(void) {
    pthread_mutex_lock(&lock);
    heard = true;
    pthread_mutex_unlock(&lock);
}

/* Another one does not know what the one before had yet to tell. */
void upcall_welcome(uint64_t instance) {
    pthread_mutex_lock(&lock);
    bool known = instance != 0 && instance == atomic_load(&keep.head->syncd);
    bool everything = unheard || (!keep_is_first() && !known);
    atomic_store(&keep.head->syncd, instance);
    untold_before = false;
    untold_note();
    pthread_mutex_unlock(&lock);
    if (everything)
        notify_everything(); /* what was changed below while nobody told us */
}

struct workq *upcall_queue(void) {
    return store_queue;
}

/* --- the connection
 * ------------------------------------------------------------------------------------ */

/* Containers of lock_ids(), as Hello wants them; free(3) both. false: no memory. */
struct ids {
    struct mailfs_id *ids;
    ProtobufCBinaryData *bytes;
    size_t n;
};

static bool ids_get(struct ids *i, bool going) {
    i->ids = lock_ids(going, &i->n);
    i->bytes = calloc(i->n + 1, sizeof *i->bytes);
    for (size_t k = 0; i->ids != NULL && i->bytes != NULL && k < i->n; k++)
        i->bytes[k] = wire_bytes_of(&i->ids[k]);
    return i->ids != NULL && i->bytes != NULL;
}

static void ids_free(struct ids *i) {
    free(i->ids);
    free(i->bytes);
}

/* Goes before everything that waits in the queue. Under the lock, so that what it says of L's is
 * true. `doubt` goes with it. */
static int queue_hello(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    struct ids held = {0}, going = {0};
    bool ok = ids_get(&held, false) && ids_get(&going, true);
    hello.version = 1;
    hello.volume = vol.conf_volume->name;
    hello.incarnation = vol.incarnation;
    hello.pid = getpid();
    hello.n_locked = held.n;
    hello.locked = held.bytes;
    hello.n_going = going.n;
    hello.going = going.bytes;
    hello.mark_gen = change_generation();
    hello.clean = vol.clean;
    hello.keeps = keep_possible();
    hello.holder = getppid();
    hello.untold = untold_before;
    hello.unchecked = vol.is_private;
    hello.no_peer = !vol.has_peer;
    m.m_case = MFL__TO_SYNCD__M_HELLO;
    m.hello = &hello;
    void *named = named_hello(&hello);
    int fd = ok ? fcntl(doubt, F_DUPFD_CLOEXEC, 0) : -1;
    struct packet *p = fd >= 0 ? packet_make(&m, fd) : NULL;
    if (p == NULL && fd >= 0)
        close(fd);
    free(named);
    ids_free(&held);
    ids_free(&going);
    if (p == NULL)
        return -ENOMEM;
    DL_PREPEND(queue, p);
    queued++;
    queued_bytes += p->len;
    return 0;
}

/*
 * Where tokens are is known from what syncd has said; but it can be killed with a word in its own
 * memory, after the token has gone, or give us up and go on. It says so where that can be heard in
 * any case.
 */
static bool in_doubt(void) {
    uint64_t n;
    return read(doubt, &n, sizeof n) == sizeof n;
}

static bool connection_begin(int fd) {
    pthread_mutex_lock(&lock);
    doubt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = doubt >= 0 && !stopping && queue_hello() == 0;
    if (!ok && doubt >= 0)
        close(doubt);
    if (ok) {
        conn = fd;
        unheard = state == DOWN;
        state = UP;
        heard = given_up = false;
        for (struct question *q = questions; q != NULL; q = q->hh.next)
            q->asked_ms = clock_ms(); /* they were kept for this connection */
        lock_forget_hints();
        if (dropped > 0)
            queue_add_lost();
        pthread_cond_signal(&work);
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

static void connection_end(int fd) {
    shutdown(fd, SHUT_RDWR);
    pthread_mutex_lock(&lock);
    conn = -1;
    go_down();
    atomic_store(&keep.head->syncd, 0);
    while (sending)
        pthread_cond_wait(&idle, &lock);
    bool say = !stopping;
    pthread_mutex_unlock(&lock);
    close(fd);
    lock_forget_shown();
    if (say)
        log_warn("connection to syncd lost: serving alone, changes are remembered");
}

static void give_up_hope(void) {
    pthread_mutex_lock(&lock);
    if (state == HOPING && clock_ms() >= hope_until) {
        log_warn("no syncd: serving alone, changes are remembered");
        go_down();
    }
    pthread_mutex_unlock(&lock);
}

/* false: mailfs stops. */
static bool wait_a_little(int ms) {
    struct pollfd p = {.fd = stop_fd, .events = POLLIN};
    return poll(&p, 1, ms) == 0;
}

static void *receiver(void *arg) {
    bool hung = false;
    do {
        hung = false;
        int fd = local_connect(socket_path);
        if (fd < 0) {
            give_up_hope();
            continue;
        }
        if (connection_begin(fd)) {
            log_info("connected to syncd");
            hung = upcall_receive(fd);
            if (in_doubt())
                upcall_give_up();
            close(doubt);
            connection_end(fd);
        } else {
            close(fd);
        }
    } while (hung ? upcall_wait_hung(stop_fd) : wait_a_little(DIAL_MS));
    return NULL;
}

static struct packet *queue_take(void) {
    struct packet *p = queue;
    DL_DELETE(queue, p);
    queued--;
    queued_bytes -= p->len;
    return p;
}

static void *sender(void *arg) {
    pthread_mutex_lock(&lock);
    while (!stopping) {
        if (state != UP || queue == NULL) {
            pthread_cond_wait(&work, &lock);
            continue;
        }
        struct packet *p = queue_take();
        int fd = conn;
        sending = true;
        pthread_mutex_unlock(&lock);
        int r = local_send(fd, p->data, p->len, p->fd);
        if (r == -EPIPE || r == -ECONNRESET)
            shutdown(fd, SHUT_RDWR); /* the receiver sees the end */
        else if (r != 0)
            upcall_give_up();
        packet_free(p);
        pthread_mutex_lock(&lock);
        if (r != 0)
            dropped++;
        sending = false;
        untold_note();
        pthread_cond_signal(&idle);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/*
 * What the worker before us had carried out and not told comes again, unless whoever asked for it
 * was killed before we read it: then syncd has to look for it. In the lane of the generations, so
 * that none begins, and no mark is cleared, before.
 */
static void run_unclaimed(void *arg) {
    enum { AT_MOST_MS = 1000 };
    while (note_unclaimed() > 0 && note_since_resent_ms() < AT_MOST_MS)
        usleep(1000);
    unsigned n = note_give_up_unclaimed();
    if (n == 0)
        return;
    log_info("%u requests of the worker before this one have not come again", n);
    upcall_lost();
}

int upcall_init(const char *state_dir) {
    int r = str_printf(socket_path, sizeof socket_path, "%s/syncd.sock", state_dir);
    if (r == 0)
        r = workq_new(STORE_THREADS, STORE_JOBS, &store_queue);
    if (r == 0)
        r = watch_queue(store_queue);
    if (r != 0)
        return r;
    stop_fd = eventfd(0, EFD_CLOEXEC);
    if (stop_fd < 0)
        return -errno;
    untold_before = atomic_load(&keep.head->untold) != 0;
    if (!keep_is_first() &&
        workq_submit(store_queue, UPCALL_LANE_GENERATION, run_unclaimed, NULL, NULL) != 0)
        return -ENOMEM;
    if (vol.has_syncd && (keep_is_first() || atomic_load(&keep.head->syncd) != 0)) {
        state = HOPING;
        hope_until = clock_ms() + vol.timeout_ms;
    }
    r = pthread_create(&receiver_thread, NULL, receiver, NULL);
    if (r == 0)
        r = pthread_create(&sender_thread, NULL, sender, NULL);
    return -r;
}

void upcall_stop(void) {
    uint64_t one = 1;
    pthread_mutex_lock(&lock);
    stopping = true;
    ssize_t ignored = write(stop_fd, &one, sizeof one);
    (void)ignored;
    if (conn >= 0)
        shutdown(conn, SHUT_RDWR);
    go_down();
    pthread_cond_broadcast(&work);
    pthread_mutex_unlock(&lock);
    pthread_join(receiver_thread, NULL);
    pthread_join(sender_thread, NULL);
}
