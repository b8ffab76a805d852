/* An extension in C: a socket, a few lines, no library. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char answer[65536];

/* Sends `request` on a connection of its own and reads the answer to its end; the body, or NULL. */
static char *call(const char *api, const char *request) {
  char host[64];
  snprintf(host, sizeof host, "%s", api);
  char *colon = strrchr(host, ':');
  *colon = 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
  inet_pton(AF_INET, host, &address.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) || write(fd, request, strlen(request)) < 0) return NULL;
  size_t have = 0;
  ssize_t got;
  while ((got = read(fd, answer + have, sizeof answer - 1 - have)) > 0) have += got;
  answer[have] = 0;
  close(fd);
  char *body = strstr(answer, "\r\n\r\n");
  return body ? body + 4 : NULL;
}

int main(int count, char **arguments) {
  const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
  char request[1024], id[64] = "";
  if (!api || count < 1) return 2;
  snprintf(request, sizeof request,
           "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nLambda-Extension-Name: %s\r\n"
           "Content-Length: 32\r\n\r\n{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}", api, basename(arguments[0]));
  if (!call(api, request)) return 3;
  char *field = strcasestr(answer, "\r\nLambda-Extension-Identifier: ");
  if (!field || sscanf(field + 31, "%63[^\r]", id) != 1) return 4;
  for (;;) {
    snprintf(request, sizeof request,
             "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"
             "Lambda-Extension-Identifier: %s\r\n\r\n", api, id);
    char *event = call(api, request);
    if (!event) return 5;
    if (strstr(event, "SHUTDOWN")) { puts("SHUTDOWN"); return 0; }
    puts("INVOKE");
    fflush(stdout);
  }
}
