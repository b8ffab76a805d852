#include "ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 1024, TRIES = 16 };

/* The number that applies: of the first variable that is set, else the default. */
static unsigned short wanted_number(const struct port *port) {
  const char *rest = port->variables;
  while (*rest) {
    char name[256];
    size_t length = strcspn(rest, ","), written;
    if (length < sizeof name) {
      memcpy(name, rest, length);
      name[length] = 0;
      const char *value = getenv(name);
      value = value ? trimmed(value, &written) : "";
      if (*value) {
        long number = number_in(value, written, 65535);
        if (number > 0) return (unsigned short)number;
        SAY(name, "='", value, "' is no port, 1 to 65535: ", decimal(port->number), " is used");
        break;
      }
    }
    rest += length + (rest[length] == ',');
  }
  return port->number;
}

/* A listening socket on loopback; -1, with errno, where there is none to be had. */
static int listen_at(int family, unsigned short number) {
  int on = 1;
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(number), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(number), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* connections of a process before us may linger */
  if (!bind(fd, address, family == AF_INET ? sizeof four : sizeof six) && !listen(fd, BACKLOG)) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static unsigned short number_of(int fd) {
  struct sockaddr_in four = {0};
  socklen_t length = sizeof four;
  getsockname(fd, (struct sockaddr *)&four, &length);
  return ntohs(four.sin_port);
}

/* Both families on one number; false, with errno, where somebody else has it. A machine without IPv6 has one family. */
static bool listen_on_both(unsigned short number, struct listeners *found) {
  found->fds[0] = listen_at(AF_INET, number);
  if (found->fds[0] < 0) return false;
  found->fds[1] = listen_at(AF_INET6, number_of(found->fds[0]));
  if (found->fds[1] >= 0 || errno != EADDRINUSE) return true;
  close(found->fds[0]);
  found->fds[0] = -1;
  errno = EADDRINUSE;
  return false;
}

static bool listen_anywhere(struct listeners *found) {
  for (int tries = 0; tries < TRIES; tries++) {
    if (listen_on_both(0, found)) return true;
    if (errno != EADDRINUSE) return false;
  }
  found->fds[0] = listen_at(AF_INET, 0); /* every number was taken by IPv6: one family is better than none */
  return found->fds[0] >= 0;
}

/* Whole or not at all: others read it while it is written. */
static bool write_file(const char *path, unsigned short number) {
  char part[512] = "", line[8] = "";
  struct text name = TEXT(part), text = TEXT(line);
  PUT(&name, path, ".new");
  PUT(&text, decimal(number), "\n");
  if (name.cut) {
    errno = ENAMETOOLONG;
    return false;
  }
  for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(part, 0700) && errno != EEXIST) return false;
    *slash = '/';
  }
  unlink(part);
  int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool written = write(fd, line, text.length) == (ssize_t)text.length;
  int error = errno;
  close(fd);
  if (written && !rename(part, path)) return true;
  if (written) error = errno;
  unlink(part);
  errno = error;
  return false;
}

void listen_on(const struct port *port, struct listeners *found) {
  unsigned short number = wanted_number(port);
  *found = (struct listeners){.fds = {-1, -1}};
  bool listens = number ? listen_on_both(number, found) : listen_anywhere(found);
  if (!listens && number && *port->file) listens = listen_anywhere(found);
  if (!listens) {
    struct text why = TEXT(found->why);
    PUT(&why, "port ", decimal(number), ": ", strerror(errno));
    if (*port->file) unlink(port->file); /* an environment before this one may have left its number */
  } else if (*port->file && !write_file(port->file, number_of(found->fds[0]))) {
    SAY("the number of port ", port->name, " cannot be written to ", port->file, ": ", strerror(errno));
  }
}

void close_listeners(const struct port *port, struct listeners *found) {
  for (int i = 0; i < 2; i++)
    if (found->fds[i] >= 0) close(found->fds[i]);
  *found = (struct listeners){.fds = {-1, -1}};
  if (*port->file) unlink(port->file);
}
