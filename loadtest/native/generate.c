/* Sends policy requests over many connections, one in flight on each, and checks every reply.
 *
 *   generate SOCKET REQUESTS CONNECTIONS SECONDS RATE
 *
 * REQUESTS is a file of records: length of the request (u32, little endian), length of what the right reply begins with
 * (u8), that beginning, the request.
 * RATE 0 is closed loop: a connection sends its next request as soon as it has a reply. Otherwise requests fall due
 * at RATE a second whatever the server does, and latency counts from that moment (no coordinated omission).
 *
 * Prints one line of JSON, with the first wrong reply in hexadecimal. A reply that is not exactly one reply, or a connection that the server closes, is lost.
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

#define BUCKETS 2048 /* loadtest/measure/histogram.py has the same layout */
#define BATCH 256

#define GRACE_NS 60000000000u /* as in loadtest/clients/generator.py */

struct request { const char *text, *right; uint32_t length; unsigned char right_length; };
struct connection { int fd; const struct request *request; uint64_t due_ns; size_t filled; char reply[1024]; };

static struct request *requests;
static size_t request_count, next_request;
static uint64_t histogram[BUCKETS], replies, wrong, lost, in_flight;
static struct connection first_wrong;

static void fail(const char *what) { perror(what); exit(2); }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void record(uint64_t us) {
    unsigned exponent = us < 128 ? 0 : 63 - (unsigned)__builtin_clzll(us) - 6;
    size_t at = exponent ? 128 + (exponent - 1) * 64 + (us >> exponent) - 64 : us;
    histogram[at < BUCKETS ? at : BUCKETS - 1]++;
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
        request->text = request->right + request->right_length;
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
    const struct request *request = &requests[next_request];
    next_request = (next_request + 1) % request_count;
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
    record((now_ns() - connection->due_ns) / 1000);
    const struct request *request = connection->request;
    if (connection->filled < request->right_length || memcmp(reply, request->right, request->right_length))
        if (!wrong++) first_wrong = *connection;
    return 1;
}

static void print_result(double seconds) {
    printf("{\"replies\": %llu, \"wrong\": %llu, \"lost\": %llu, \"seconds\": %.6f, \"histogram\": {",
           (unsigned long long)replies, (unsigned long long)wrong, (unsigned long long)lost, seconds);
    const char *comma = "";
    for (size_t at = 0; at < BUCKETS; at++)
        if (histogram[at]) {
            printf("%s\"%zu\": %llu", comma, at, (unsigned long long)histogram[at]);
            comma = ", ";
        }
    printf("}");
    if (wrong) {
        printf(", \"first_wrong\": [%zu, \"", (size_t)(first_wrong.request - requests));
        for (size_t at = 0; at < first_wrong.filled; at++) printf("%02x", (unsigned char)first_wrong.reply[at]);
        printf("\"]");
    }
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc != 6) { fprintf(stderr, "usage: generate SOCKET REQUESTS CONNECTIONS SECONDS RATE\n"); return 2; }
    read_requests(argv[2]);
    size_t count = strtoul(argv[3], NULL, 10), idle_count = 0;
    double rate = strtod(argv[5], NULL);
    uint64_t length_ns = (uint64_t)(strtod(argv[4], NULL) * 1e9), sent = 0;
    struct connection *connections = calloc(count, sizeof *connections);
    size_t *idle = calloc(count, sizeof *idle);
    int epoll = epoll_create1(0);
    for (size_t at = 0; at < count; at++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = at};
        connections[at].fd = connect_to(argv[1]);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[at].fd, &event)) fail("epoll_ctl");
        idle[idle_count++] = at;
    }
    uint64_t start = now_ns(), end = start + length_ns, grace = end + GRACE_NS, now = start;
    if (rate == 0)
        while (idle_count) send_next(&connections[idle[--idle_count]], now_ns());
    while (now < end ? 1 : in_flight && now < grace) {
        struct timespec wait = {.tv_sec = 0, .tv_nsec = 100000000};
        if (rate > 0) {
            uint64_t due = start + (uint64_t)((double)sent * 1e9 / rate);
            while (idle_count && due <= now && due < end) {
                if (!send_next(&connections[idle[--idle_count]], due)) continue;
                due = start + (uint64_t)((double)++sent * 1e9 / rate);
            }
            if (idle_count && due < end && due - now < 100000000u) wait.tv_nsec = (long)(due > now ? due - now : 0);
        }
        struct epoll_event events[BATCH];
        int ready = epoll_pwait2(epoll, events, BATCH, &wait, NULL);
        now = now_ns();
        for (int each = 0; each < ready; each++) {
            size_t at = events[each].data.u64;
            int outcome = receive(&connections[at]);
            if (outcome < 0) { epoll_ctl(epoll, EPOLL_CTL_DEL, connections[at].fd, NULL); close(connections[at].fd); }
            else if (outcome > 0 && rate > 0) idle[idle_count++] = at;
            else if (outcome > 0 && now < end) send_next(&connections[at], now_ns());
        }
    }
    lost += in_flight;
    print_result((double)(now_ns() - start) / 1e9);
    return 0;
}
