/* The floor of a proxy: it copies bytes, both ways, and knows nothing of what they mean. One thread, poll, blocking writes,
 * 64 KiB at a time. PROXY_UPSTREAM=IPV4:PORT; the port that it listens on is the first line of its output. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 512 };
static char buffer[65536];
static struct pollfd watched[MOST]; /* [0]: the listener; then pairs, at an odd and the following even index */
static int count = 1;

static int dial(const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && !connect(fd, (const struct sockaddr *)address, sizeof *address)) return fd;
  close(fd);
  return -1;
}

static void adopt(int client, int upstream) {
  int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(upstream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  watched[count++] = (struct pollfd){.fd = client, .events = POLLIN};
  watched[count++] = (struct pollfd){.fd = upstream, .events = POLLIN};
}

/* Copies what has come to `at`; 0 where either end has gone. */
static int copy(int at) {
  int peer = watched[at % 2 ? at + 1 : at - 1].fd;
  ssize_t got = read(watched[at].fd, buffer, sizeof buffer);
  for (ssize_t done = 0, put; done < got; done += put)
    if ((put = write(peer, buffer + done, got - done)) <= 0) return 0;
  return got > 0;
}

static void drop(int at) {
  int first = at % 2 ? at : at - 1;
  close(watched[first].fd);
  close(watched[first + 1].fd);
  watched[first] = watched[count - 2];
  watched[first + 1] = watched[count - 1];
  count -= 2;
}

int main(void) {
  const char *given = getenv("PROXY_UPSTREAM");
  char host[64] = "";
  int port = 0;
  if (!given || sscanf(given, "%63[^:]:%d", host, &port) != 2) return 2;
  struct sockaddr_in upstream = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof own;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (inet_pton(AF_INET, host, &upstream.sin_addr) != 1 || bind(listener, (struct sockaddr *)&own, sizeof own) ||
      listen(listener, 128) || getsockname(listener, (struct sockaddr *)&own, &length))
    return 3;
  printf("%d\n", ntohs(own.sin_port));
  fflush(stdout);
  watched[0] = (struct pollfd){.fd = listener, .events = POLLIN};
  for (;;) {
    if (poll(watched, count, -1) < 0) return 3;
    for (int at = count - 1; at > 0; at--)
      if (watched[at].revents && !copy(at)) {
        drop(at);
        break;
      }
    if (watched[0].revents & POLLIN && count + 2 < MOST) {
      int client = accept(listener, NULL, NULL), fd = dial(&upstream);
      if (client >= 0 && fd >= 0)
        adopt(client, fd);
      else
        close(client);
    }
  }
}
