/* The least that a policy server can do: wait, receive, and answer action=DUNNO where a request ends.
 *
 *   echo SOCKET
 *
 * What a server costs above this is what its own code costs. Prints a line when it listens.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 256

int main(int argc, char **argv) {
    static const char reply[] = "action=DUNNO\n\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[BATCH];
    char buffer[65536];
    if (argc != 2) return 2;
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) { perror(argv[1]); return 2; }
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, -1);
        for (int each = 0; each < ready; each++) {
            int fd = events[each].data.fd;
            if (fd == listener) {
                event.data.fd = accept(listener, NULL, NULL);
                epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got <= 0) close(fd);
            else if (got > 1 && !memcmp(buffer + got - 2, "\n\n", 2))
                if (send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) < 0) close(fd);
        }
    }
}
