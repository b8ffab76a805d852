#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <unistd.h>

#include "text.h"

enum { LINE = 4096, LONGEST_HEAD = 1048576 };

bool parse_address(struct address *address, const char *text) {
  char host[64];
  const char *colon = strrchr(text, ':');
  if (!colon) return false;
  long port = number_in(colon + 1, strlen(colon + 1), 65535);
  size_t length = (size_t)(colon - text);
  if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
    text++;
    length -= 2;
  }
  if (port < 0 || length == 0 || length >= sizeof host) return false;
  memcpy(host, text, length);
  host[length] = 0;
  *address = (struct address){0};
  struct sockaddr_in *four = (struct sockaddr_in *)&address->socket;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->socket;
  if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons((unsigned short)port);
    address->length = sizeof *four;
    return true;
  }
  if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((unsigned short)port);
    address->length = sizeof *six;
    return true;
  }
  return false;
}

bool dial(struct connection *connection, const struct address *address, int seconds) {
  int on = 1;
  struct timeval limit = {.tv_sec = seconds}, none = {0};
  connection->at = connection->end = 0;
  int fd = connection->fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* it limits connect() as well */
  if (connect(fd, (const struct sockaddr *)&address->socket, address->length)) {
    int error = errno;
    hang_up(connection);
    errno = error;
    return false;
  }
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none); /* whoever goes on with the socket sets its own */
  return true;
}

void hang_up(struct connection *connection) {
  if (connection->fd >= 0) close(connection->fd);
  connection->fd = -1;
}

bool send_all(struct connection *connection, const char *data, size_t length) {
  while (length) {
    ssize_t sent = send(connection->fd, data, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    data += sent;
    length -= (size_t)sent;
  }
  return true;
}

/* The next byte that arrives; -1 where none does. */
static int next_byte(struct connection *connection) {
  if (connection->at == connection->end) {
    struct pollfd readable = {.fd = connection->fd, .events = POLLIN};
    int ready;
    do ready = poll(&readable, 1, connection->patience_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0) errno = ETIMEDOUT;
    if (ready <= 0) return -1;
    ssize_t got;
    do got = read(connection->fd, connection->buffer, sizeof connection->buffer);
    while (got < 0 && errno == EINTR);
    if (got == 0) errno = ECONNRESET;
    if (got <= 0) return -1;
    connection->at = 0;
    connection->end = (size_t)got;
  }
  return (unsigned char)connection->buffer[connection->at++];
}

/* One line without its end; what is longer than `line` is passed over. False where the connection ends, or `*left` bytes were
 * not enough. */
static bool read_line(struct connection *connection, char line[LINE], size_t *left) {
  size_t length = 0;
  for (;;) {
    int byte = next_byte(connection);
    if (byte < 0) return false;
    if ((*left)-- == 0) {
      errno = EBADMSG;
      return false;
    }
    if (byte == '\n') break;
    if (length < LINE - 1) line[length++] = (char)byte;
  }
  if (length && line[length - 1] == '\r') length--;
  line[length] = 0;
  return true;
}

static void take_field(struct answer *answer, const char *line) {
  const char *colon = strchr(line, ':');
  if (!colon) return;
  size_t name = (size_t)(colon - line), length;
  const char *value = trimmed(colon + 1, &length);
#define IS(field) (name == sizeof(field) - 1 && !strncasecmp(line, field, name))
  if (IS("lambda-extension-identifier")) {
    if (length < sizeof answer->identifier) {
      memcpy(answer->identifier, value, length);
      answer->identifier[length] = 0;
    }
  } else if (IS("content-length")) {
    long found = number_in(value, length, 2147483647);
    if (found < 0 || (answer->has_length && (unsigned long long)found != answer->left)) answer->keep = false;
    answer->has_length = found >= 0;
    answer->left = found < 0 ? 0 : (unsigned long long)found;
  } else if (IS("transfer-encoding")) {
    answer->chunked = true;
  } else if (IS("connection")) {
    if (strcasestr(value, "close")) answer->keep = false;
  }
#undef IS
}

bool read_head(struct connection *connection, struct answer *answer) {
  static char line[LINE];
  size_t left = LONGEST_HEAD;
  do {
    *answer = (struct answer){0};
    if (!read_line(connection, line, &left)) return false;
    long status = strlen(line) >= 12 && line[8] == ' ' ? number_in(line + 9, 3, 599) : -1;
    if (strncmp(line, "HTTP/1.", 7) || status < 100) {
      errno = EBADMSG;
      return false;
    }
    answer->status = (int)status;
    answer->keep = line[7] == '1';
    for (;;) {
      if (!read_line(connection, line, &left)) return false;
      if (!*line) break;
      take_field(answer, line);
    }
  } while (answer->status < 200);
  if (answer->chunked) {
    answer->has_length = false;
    answer->left = 0;
  }
  if (!answer->chunked && !answer->has_length) answer->keep = false;
  return true;
}

/* Reads the line with the size of the next chunk; false at the end of the body, and where it breaks off. */
static bool next_chunk(struct connection *connection, struct answer *answer) {
  static char line[LINE];
  size_t left = LONGEST_HEAD;
  if (answer->began && (!read_line(connection, line, &left) || *line)) return false; /* the end of the chunk before */
  answer->began = true;
  if (!read_line(connection, line, &left)) return false;
  size_t digits = strspn(line, "0123456789abcdefABCDEF");
  if (digits == 0 || digits > 8 || (line[digits] && !strchr("; \t", line[digits]))) return false;
  for (size_t i = 0; i < digits; i++)
    answer->left = answer->left * 16 + (unsigned)(line[i] <= '9' ? line[i] - '0' : (line[i] | 32) - 'a' + 10);
  if (answer->left) return true;
  do /* fields may follow the last chunk */
    if (!read_line(connection, line, &left)) return false;
  while (*line);
  answer->done = true;
  return false;
}

int body_byte(struct connection *connection, struct answer *answer) {
  if (answer->done || (answer->has_length && answer->left == 0)) return BODY_ENDED;
  if (answer->chunked && answer->left == 0 && !next_chunk(connection, answer))
    return answer->done ? BODY_ENDED : BODY_BROKEN;
  int byte = next_byte(connection);
  if (byte < 0) return answer->chunked || answer->has_length ? BODY_BROKEN : BODY_ENDED;
  answer->left--;
  return byte;
}
