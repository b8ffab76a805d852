/* The little of HTTP/1.1 that the Extensions API needs: one connection, one request at a time, an answer in whatever framing. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher.h"

static char incoming[16384];
static size_t at, have;
static int source = -1;

/* The next byte of the answer; -1 at its end, or where the connection failed. */
static int next_byte(void) {
  if (at == have) {
    ssize_t got = read(source, incoming, sizeof incoming);
    at = 0;
    have = got > 0 ? (size_t)got : 0;
    if (!have) return -1;
  }
  return (unsigned char)incoming[at++];
}

static int parse_address(const char *api, struct sockaddr_storage *address, socklen_t *size) {
  char host[64];
  const char *colon = strrchr(api, ':');
  if (!colon || colon == api || (size_t)(colon - api) >= sizeof host) return -1;
  if (!colon[1] || strlen(colon + 1) > 5 || strspn(colon + 1, "0123456789") != strlen(colon + 1)) return -1;
  memcpy(host, api, colon - api);
  host[colon - api] = 0;
  memset(address, 0, sizeof *address);
  struct sockaddr_in *four = (struct sockaddr_in *)address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
  if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(atoi(colon + 1));
    *size = sizeof *four;
    return 0;
  }
  if (host[0] == '[' && host[strlen(host) - 1] == ']') {
    host[strlen(host) - 1] = 0;
    if (inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1) {
      six->sin6_family = AF_INET6;
      six->sin6_port = htons(atoi(colon + 1));
      *size = sizeof *six;
      return 0;
    }
  }
  return -1;
}

/* Whether the address needs no look-up: names are Python's business. */
int api_is_literal(const char *api) {
  struct sockaddr_storage address;
  socklen_t size;
  return !parse_address(api, &address, &size);
}

/* Connects where there is no connection; -1 where that fails. */
int http_dial(struct session *session) {
  struct sockaddr_storage address;
  socklen_t size;
  int on = 1;
  if (session->fd >= 0) return 0;
  if (parse_address(session->api, &address, &size)) return -1;
  int fd = socket(address.ss_family, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, size)) {
    close(fd);
    return -1;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  session->fd = fd;
  return 0;
}

/* The status line and fields into `head`, as a string; the status, 0 where there is none. */
static int read_head(char *head, size_t size, size_t *length) {
  size_t n = 0;
  for (int byte; n < size - 1 && (byte = next_byte()) >= 0;) {
    head[n++] = byte;
    head[n] = 0;
    if (byte == '\n' && (n < 3 || !strcmp(head + n - 2, "\n\n") || (n >= 4 && !strcmp(head + n - 4, "\r\n\r\n")))) {
      *length = n;
      if (n < 13 || strncmp(head, "HTTP/1.", 7) || head[8] != ' ') return 0;
      return strspn(head + 9, "0123456789") == 3 ? atoi(head + 9) : 0;
    }
  }
  return 0;
}

/* `count` bytes of the body, the first `room` of which are kept; -1 where they do not come. */
static int take(size_t count, char *body, size_t *kept, size_t room) {
  for (; count; count--) {
    int byte = next_byte();
    if (byte < 0) return -1;
    if (*kept < room) body[(*kept)++] = byte;
  }
  return 0;
}

static int take_line(char *line, size_t size) {
  size_t n = 0;
  for (int byte; (byte = next_byte()) >= 0;) {
    if (byte == '\n') {
      line[n - (n && line[n - 1] == '\r')] = 0;
      return 0;
    }
    if (n < size - 1) line[n++] = byte;
  }
  return -1;
}

static int take_chunks(char *body, size_t *kept, size_t room) {
  char line[128];
  for (;;) {
    if (take_line(line, sizeof line) || !strspn(line, "0123456789abcdefABCDEF")) return -1;
    unsigned long count = strtoul(line, NULL, 16);
    if (!count) break;
    if (take(count, body, kept, room) || take_line(line, sizeof line) || line[0]) return -1;
  }
  do
    if (take_line(line, sizeof line)) return -1; /* trailers */
  while (line[0]);
  return 0;
}

/* The value of a field, "" where there is none; 0 where it is there and fits. */
int http_header(const char *head, const char *name, char *value, size_t size) {
  size_t length = strlen(name);
  value[0] = 0;
  for (const char *line = strchr(head, '\n'); line; line = strchr(line, '\n')) {
    line++;
    if (strncasecmp(line, name, length) || line[length] != ':') continue;
    line += length + 1;
    line += strspn(line, " \t");
    size_t count = strcspn(line, "\r\n");
    while (count && (line[count - 1] == ' ' || line[count - 1] == '\t')) count--;
    if (count >= size) return -1;
    memcpy(value, line, count);
    value[count] = 0;
    return 0;
  }
  return -1;
}

static int read_body(const char *head, char *body, size_t *kept, size_t room) {
  char value[64];
  if (!http_header(head, "transfer-encoding", value, sizeof value)) return strcasecmp(value, "chunked") ? -1 : take_chunks(body, kept, room);
  if (!http_header(head, "content-length", value, sizeof value)) {
    if (!*value || strlen(value) > 15 || strspn(value, "0123456789") != strlen(value)) return -1;
    return take(strtoull(value, NULL, 10), body, kept, room);
  }
  for (int byte; (byte = next_byte()) >= 0;)
    if (*kept < room) body[(*kept)++] = byte;
  return 1; /* the connection was the end of it */
}

static int answer(char *buffer, size_t size, char **body, int *ended) {
  size_t length = 0, kept = 0;
  char value[64];
  int status;
  do
    status = read_head(buffer, size, &length);
  while (status >= 100 && status < 200);
  if (!status || length + 1 >= size) return 0;
  *body = buffer + length + 1;
  *ended = read_body(buffer, *body, &kept, size - length - 2);
  (*body)[kept] = 0;
  if (*ended < 0) return 0;
  if (!http_header(buffer, "connection", value, sizeof value) && !strcasecmp(value, "close")) *ended = 1;
  return status;
}

int http_exchange(struct session *session, const char *request, size_t length, char *buffer, size_t size, char **body) {
  int ended = 1, status = 0;
  size_t sent = 0;
  if (http_dial(session)) return 0;
  while (sent < length) {
    ssize_t wrote = send(session->fd, request + sent, length - sent, MSG_NOSIGNAL);
    if (wrote <= 0) break;
    sent += wrote;
  }
  source = session->fd;
  at = have = 0;
  if (sent == length) status = answer(buffer, size, body, &ended);
  if (!status || ended || at != have) {
    close(session->fd);
    session->fd = -1;
  }
  return status;
}
