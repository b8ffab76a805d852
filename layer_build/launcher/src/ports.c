/* The ports that the manifest lists, on loopback: callers wait in the backlog until Python is up instead of being refused. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher.h"

#define BACKLOG 1024

/* A listening socket on `number` (0: any free one, which is stored there); -1 with errno where there is none. */
static int listen_on(int family, int *number) {
  union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
  } address = {0};
  socklen_t size = family == AF_INET ? sizeof address.four : sizeof address.six;
  int on = 1, fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  address.any.sa_family = family;
  if (family == AF_INET) {
    address.four.sin_port = htons(*number);
    address.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else {
    address.six.sin6_port = htons(*number);
    address.six.sin6_addr = in6addr_loopback;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, &address.any, size) || listen(fd, BACKLOG) || getsockname(fd, &address.any, &size)) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  *number = ntohs(family == AF_INET ? address.four.sin_port : address.six.sin6_port);
  return fd;
}

/* Both families on one number. Machines without IPv6 have one socket. */
static int open_pair(struct port *port, int number) {
  for (int tries = 0; tries < (number ? 1 : 8); tries++) {
    int chosen = number;
    port->fds[0] = listen_on(AF_INET, &chosen);
    if (port->fds[0] < 0) return -1;
    port->fds[1] = listen_on(AF_INET6, &chosen);
    if (port->fds[1] >= 0 || errno != EADDRINUSE) {
      port->number = chosen;
      return 0;
    }
    close(port->fds[0]);
    port->fds[0] = -1;
  }
  errno = EADDRINUSE;
  return -1;
}

/* The first of its variables that is set decides; what is no port is said, and the default stands. */
static void override(struct port *port, const char *name) {
  char variables[sizeof port->variables];
  strcpy(variables, port->variables);
  for (char *variable = strtok(variables, ","); variable; variable = strtok(NULL, ",")) {
    const char *value = getenv(variable);
    if (!value || !*value) continue;
    long number = strspn(value, "0123456789") == strlen(value) && strlen(value) <= 5 ? atol(value) : 0;
    if (number >= 1 && number <= 65535) {
      port->number = (int)number;
    } else {
      char line[MAX_TEXT];
      snprintf(line, sizeof line, "%s=%.64s is no port (1 to 65535): %d is used", variable, value, port->number);
      say(name, line, "");
    }
    return;
  }
}

/* The number as text, in one step: who reads the file finds all of it or none. Its folders are ours alone. */
static int write_file(const struct port *port) {
  char path[sizeof port->file + 8], part[sizeof path + 16], digits[16];
  strcpy(path, port->file);
  for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    if (mkdir(path, 0700) && errno != EEXIST) return -1;
    *slash = '/';
  }
  snprintf(part, sizeof part, "%s.%d", path, (int)getpid());
  int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return -1;
  int length = snprintf(digits, sizeof digits, "%d\n", port->number);
  int failed = write(fd, digits, length) != length;
  failed |= close(fd) != 0;
  if (failed || rename(part, path)) {
    unlink(part);
    return -1;
  }
  return 0;
}

void ports_open(struct conf *conf, const char *name) {
  for (int i = 0; i < conf->port_count; i++) {
    struct port *port = &conf->ports[i];
    override(port, name);
    if (open_pair(port, port->number) && (!port->file[0] || open_pair(port, 0))) {
      snprintf(port->why_not, sizeof port->why_not, "port %d: %s", port->number, strerror(errno));
    } else if (port->file[0] && write_file(port)) {
      char line[MAX_TEXT];
      snprintf(line, sizeof line, "%s cannot be written: %s", port->file, strerror(errno));
      say(name, line, "");
    }
  }
}

/* Nobody will accept: callers are refused at once instead of waiting in vain. */
void ports_close(struct conf *conf) {
  for (int i = 0; i < conf->port_count; i++)
    for (int j = 0; j < 2; j++)
      if (conf->ports[i].fds[j] >= 0) close(conf->ports[i].fds[j]);
}
