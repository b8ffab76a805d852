/* The floor: an extension in C on one keep-alive connection, linked statically. Registers, loops, ends at SHUTDOWN.
 *
 * It does what any extension must and nothing else: it reads an answer to its end (Content-Length) and tells SHUTDOWN from
 * INVOKE. Exit status: 0 after SHUTDOWN, 2 outside an environment, 3 where the connection or an answer fails. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char answer[65536];

/* Connects to host:port; -1 where that fails. */
static int dial(const char *api) {
  char host[64] = "";
  int port = 0, on = 1;
  if (sscanf(api, "%63[^:]:%d", host, &port) != 2) return -1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return -1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

/* Sends `request`, reads one answer into `answer`; its body, or NULL where it is no whole 200. */
static char *exchange(int fd, const char *request, size_t length) {
  if (write(fd, request, length) != (ssize_t)length) return NULL;
  size_t have = 0, want = 0;
  char *body = NULL;
  do {
    ssize_t got = read(fd, answer + have, sizeof answer - 1 - have);
    if (got <= 0) return NULL;
    have += got;
    answer[have] = 0;
    if (!body && (body = strstr(answer, "\r\n\r\n"))) {
      char *field = strcasestr(answer, "\r\nContent-Length:");
      body += 4;
      want = (body - answer) + (field ? strtoul(field + 17, NULL, 10) : 0);
    }
  } while (!body || have < want);
  return strncmp(answer, "HTTP/1.1 200 ", 13) ? NULL : body;
}

int main(int count, char **arguments) {
  static const char events[] = "{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}";
  const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
  char request[1024], identifier[64] = "";
  if (!api || count < 1) return 2;
  const char *slash = strrchr(arguments[0], '/');
  int fd = dial(api);
  if (fd < 0) return 3;
  int length = snprintf(request, sizeof request,
                        "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Name: %s\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        api, slash ? slash + 1 : arguments[0], sizeof events - 1, events);
  if (!exchange(fd, request, length)) return 3;
  char *field = strcasestr(answer, "\r\nLambda-Extension-Identifier:");
  if (!field || sscanf(field + 30, " %63[^\r]", identifier) != 1) return 3;
  length = snprintf(request, sizeof request,
                    "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Identifier: %s\r\n\r\n",
                    api, identifier);
  for (;;) {
    char *event = exchange(fd, request, length);
    if (!event) return 3;
    if (strstr(event, "\"SHUTDOWN\"")) return 0;
  }
}
