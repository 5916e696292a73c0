/* Sends policy requests over many connections, one in flight on each, and checks every reply.
 *
 *   generate SOCKET REQUESTS CONNECTIONS [never-sleep]
 *
 * REQUESTS is a file of records: length of the request (u32, little endian), length of what the right reply begins with
 * (u8), that beginning, the request. Each [SERIAL] in a request is replaced by eight characters that no other request of
 * this process, or of an earlier one, has.
 * Each line of standard input, "SECONDS RATE", is a round on the same connections. RATE 0 is closed loop: a connection
 * sends its next request as soon as it has a reply. Otherwise requests fall due at RATE a second whatever the server
 * does, and latency counts from that moment (no coordinated omission). Lag is how late a request was sent although a
 * connection was free: the generator's own lateness, which is part of the latency but not the server's doing.
 * The connection that has been idle longest sends next, so that all of them are in use at any rate.
 * With never-sleep it keeps a core busy during a round. Otherwise a slow server finds it asleep, and pays for waking it
 * with each reply, which a fast one does not.
 *
 * Prints one line of JSON for each round, with the first wrong reply in hexadecimal. A reply that is not exactly one
 * reply, or a connection that the server closes, is lost. A round that ends without all of its replies is the last one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 2048
#define BATCH 256
#define LONGEST_WAIT_NS 100000000u
#define GRACE_NS 60000000000u /* as in loadtest/clients/generator.py */

#define SERIAL "[SERIAL]"
#define MOST_SERIALS 4

struct request {
    char *text, *serials[MOST_SERIALS];
    const char *right;
    uint32_t length;
    unsigned char right_length, serial_count;
};
struct round { double rate; uint64_t start_ns, end_ns, sent; };
struct connection { int fd; const struct request *request; uint64_t due_ns; size_t filled; char reply[1024]; };

static struct request *requests;
static size_t request_count, next_request, connection_count;
/* A ring: those that wait for a request, the longest idle one at idle_first. */
static size_t idle_first, idle_count, *idle;
static uint64_t idle_since_ns; /* since when there has been any */
static struct connection *connections;
static int epoll, never_sleep;

/* The clock's microseconds to begin with: nobody sends a million requests a second. */
static uint64_t next_serial;

/* What came of the current round. */
static uint64_t latency[BUCKETS], lag[BUCKETS], replies, wrong, lost, in_flight;
static struct connection first_wrong;

static void fail(const char *what) { perror(what); exit(2); }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Exact below 128 us, then 64 buckets for every power of two: as fine as what counts them on, measure/histogram.py. */
static void record(uint64_t *histogram, uint64_t us) {
    unsigned exponent = us < 128 ? 0 : 63 - (unsigned)__builtin_clzll(us) - 6;
    size_t at = exponent ? 128 + (exponent - 1) * 64 + (us >> exponent) - 64 : us;
    histogram[at < BUCKETS ? at : BUCKETS - 1]++;
}

static uint64_t lowest_of(size_t bucket) {
    return bucket < 128 ? bucket : ((bucket - 128) % 64 + 64) << ((bucket - 128) / 64 + 1);
}

static uint64_t wall_clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void find_serials(struct request *request) {
    char *at = request->text, *end = request->text + request->length;
    while (request->serial_count < MOST_SERIALS && (at = memmem(at, (size_t)(end - at), SERIAL, 8))) {
        request->serials[request->serial_count++] = at;
        at += 8;
    }
}

static void number(struct request *request) {
    char digits[8];
    uint64_t serial = next_serial++;
    for (int at = 7; at >= 0; at--, serial >>= 5) digits[at] = "0123456789abcdefghijklmnopqrstuv"[serial & 31];
    for (int each = 0; each < request->serial_count; each++) memcpy(request->serials[each], digits, 8);
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *all = malloc((size_t)size);
    if (!all || fread(all, 1, (size_t)size, file) != (size_t)size) fail(path);
    fclose(file);
    requests = calloc((size_t)size / 5 + 1, sizeof *requests);
    for (long at = 0; at < size;) {
        struct request *request = &requests[request_count++];
        memcpy(&request->length, all + at, 4);
        request->right_length = (unsigned char)all[at + 4];
        request->right = all + at + 5;
        request->text = all + at + 5 + request->right_length;
        find_serials(request);
        at += 5 + request->right_length + request->length;
    }
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail(path);
    return fd;
}

static int send_next(struct connection *connection, uint64_t due_ns) {
    struct request *request = &requests[next_request];
    next_request = (next_request + 1) % request_count;
    if (request->serial_count) number(request);
    connection->due_ns = due_ns;
    connection->request = request;
    connection->filled = 0;
    /* A request fits into a socket's buffer: there is never more than one. */
    if (send(connection->fd, request->text, request->length, MSG_NOSIGNAL) != (ssize_t)request->length) {
        lost++;
        return 0;
    }
    in_flight++;
    return 1;
}

/* 1: a whole reply came; 0: not yet; -1: the connection is of no more use. */
static int receive(struct connection *connection) {
    char *reply = connection->reply;
    ssize_t got = recv(connection->fd, reply + connection->filled, sizeof connection->reply - connection->filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) { lost++; in_flight--; return -1; }
    connection->filled += (size_t)got;
    if (connection->filled < 2 || memcmp(reply + connection->filled - 2, "\n\n", 2)) return 0;
    in_flight--;
    if (memmem(reply, connection->filled - 2, "\n\n", 2)) { lost++; return -1; }
    replies++;
    record(latency, (now_ns() - connection->due_ns) / 1000);
    const struct request *request = connection->request;
    if (connection->filled < request->right_length || memcmp(reply, request->right, request->right_length))
        if (!wrong++) first_wrong = *connection;
    return 1;
}

static void print_histogram(const char *name, const uint64_t *histogram) {
    const char *comma = "";
    printf(", \"%s\": {", name);
    for (size_t at = 0; at < BUCKETS; at++)
        if (histogram[at]) {
            printf("%s\"%llu\": %llu", comma, (unsigned long long)lowest_of(at), (unsigned long long)histogram[at]);
            comma = ", ";
        }
    printf("}");
}

static void print_result(double seconds) {
    printf("{\"replies\": %llu, \"wrong\": %llu, \"lost\": %llu, \"seconds\": %.6f",
           (unsigned long long)replies, (unsigned long long)wrong, (unsigned long long)lost, seconds);
    print_histogram("latency_us", latency);
    print_histogram("lag_us", lag);
    if (wrong) {
        printf(", \"first_wrong\": [%zu, \"", (size_t)(first_wrong.request - requests));
        for (size_t at = 0; at < first_wrong.filled; at++) printf("%02x", (unsigned char)first_wrong.reply[at]);
        printf("\"]");
    }
    printf("}\n");
    fflush(stdout);
}

static void add_idle(size_t at) {
    if (!idle_count) idle_since_ns = now_ns();
    idle[(idle_first + idle_count++) % connection_count] = at;
}

static struct connection *take_idle(void) {
    struct connection *taken = &connections[idle[idle_first]];
    idle_first = (idle_first + 1) % connection_count;
    idle_count--;
    return taken;
}

static void connect_all(const char *path) {
    connections = calloc(connection_count, sizeof *connections);
    idle = calloc(connection_count, sizeof *idle);
    epoll = epoll_create1(0);
    for (size_t at = 0; at < connection_count; at++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = at};
        connections[at].fd = connect_to(path);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[at].fd, &event)) fail("epoll_ctl");
        add_idle(at);
    }
}

/* When the next request of an open loop falls due. */
static uint64_t due_ns(const struct round *round) {
    return round->start_ns + (uint64_t)((double)round->sent * 1e9 / round->rate);
}

/* Whether requests of an open loop are still to be sent: also those that found no free connection in time. */
static int unsent(const struct round *round) {
    return round->rate > 0 && due_ns(round) < round->end_ns;
}

/* Sends what is due at `now`, and returns how long nothing else falls due. */
static uint64_t send_due(struct round *round, uint64_t now) {
    while (idle_count && unsent(round) && due_ns(round) <= now) {
        uint64_t due = due_ns(round);
        record(lag, (now_ns() - (due > idle_since_ns ? due : idle_since_ns)) / 1000);
        if (send_next(take_idle(), due)) round->sent++;
    }
    uint64_t due = due_ns(round);
    return idle_count && unsent(round) && due - now < LONGEST_WAIT_NS ? due - now : LONGEST_WAIT_NS;
}

static void receive_ready(uint64_t wait_ns, int again) {
    struct timespec wait = {.tv_sec = 0, .tv_nsec = never_sleep ? 0 : (long)wait_ns};
    struct epoll_event events[BATCH];
    int ready = epoll_pwait2(epoll, events, BATCH, &wait, NULL);
    for (int each = 0; each < ready; each++) {
        size_t at = events[each].data.u64;
        int outcome = receive(&connections[at]);
        if (outcome < 0) { epoll_ctl(epoll, EPOLL_CTL_DEL, connections[at].fd, NULL); close(connections[at].fd); }
        else if (outcome > 0 && again) send_next(&connections[at], now_ns());
        else if (outcome > 0) add_idle(at);
    }
}

static void run_round(double seconds, double rate) {
    memset(latency, 0, sizeof latency);
    memset(lag, 0, sizeof lag);
    replies = wrong = lost = in_flight = 0;
    uint64_t now = now_ns();
    struct round round = {.rate = rate, .start_ns = now, .end_ns = now + (uint64_t)(seconds * 1e9)};
    uint64_t grace_ns = round.end_ns + GRACE_NS;
    if (rate == 0)
        while (idle_count) send_next(take_idle(), now_ns());
    while (now < round.end_ns || ((in_flight || (idle_count && unsent(&round))) && now < grace_ns)) {
        uint64_t wait_ns = rate > 0 ? send_due(&round, now) : LONGEST_WAIT_NS;
        receive_ready(wait_ns, rate == 0 && now < round.end_ns);
        now = now_ns();
    }
    lost += in_flight;
    for (; unsent(&round); round.sent++) lost++;
    print_result((double)(now_ns() - round.start_ns) / 1e9);
}

int main(int argc, char **argv) {
    if (argc < 4) { fprintf(stderr, "usage: generate SOCKET REQUESTS CONNECTIONS [never-sleep]\n"); return 2; }
    never_sleep = argc > 4;
    connection_count = strtoul(argv[3], NULL, 10);
    read_requests(argv[2]);
    connect_all(argv[1]);
    next_serial = wall_clock_us();
    double seconds, rate;
    while (!in_flight && scanf("%lf %lf", &seconds, &rate) == 2) run_round(seconds, rate);
    return 0;
}
