/* The least that a policy server can do: wait, receive, and answer action=DUNNO where a request ends.
 *
 *   echo SOCKET [PROCESSES]
 *
 * What a server costs above this is what its own code costs. Several processes take turns in accepting, so that each
 * has as many connections as the next one. Prints a line when it listens.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 256

#define MOST_PROCESSES 64

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void reply_to(int fd) {
    static const char reply[] = "action=DUNNO\n\n";
    static char buffer[65536];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) close(fd);
    else if (got > 1 && !memcmp(buffer + got - 2, "\n\n", 2))
        if (send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) < 0) close(fd);
}

/* A byte from `turn` is the right to accept one connection; it then goes to `next`. */
static void serve(int listener, int turn, int next) {
    struct epoll_event events[BATCH];
    int epoll = epoll_create1(0);
    char byte;
    watch(epoll, turn);
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, -1);
        for (int each = 0; each < ready; each++) {
            int fd = events[each].data.fd;
            if (fd == turn) {
                if (read(turn, &byte, 1) == 1) watch(epoll, listener);
            } else if (fd == listener) {
                watch(epoll, accept(listener, NULL, NULL));
                epoll_ctl(epoll, EPOLL_CTL_DEL, listener, NULL);
                if (write(next, "", 1) != 1) exit(2);
            } else reply_to(fd);
        }
    }
}

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), turns[MOST_PROCESSES][2], mine = 0;
    int processes = argc == 3 ? atoi(argv[2]) : 1;
    if (argc < 2 || processes < 1 || processes > MOST_PROCESSES) return 2;
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) { perror(argv[1]); return 2; }
    for (int each = 0; each < processes; each++)
        if (pipe(turns[each])) { perror("pipe"); return 2; }
    for (int each = 1; each < processes && !mine; each++) {
        pid_t child = fork();
        if (child < 0) { perror("fork"); return 2; }
        if (!child) { mine = each; prctl(PR_SET_PDEATHSIG, SIGKILL); }
    }
    if (!mine) {
        if (write(turns[0][1], "", 1) != 1) return 2;
        puts("ready");
        fflush(stdout);
    }
    serve(listener, turns[mine][0], turns[(mine + 1) % processes][1]);
}
