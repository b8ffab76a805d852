/* launcher.conf: a line each, words separated by a blank, in the order that layer_build/README.md gives. Anything else is refused:
 * half a configuration would be worse than none. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"

static char text[8192];

static int copy(char *to, size_t size, const char *from) {
  if (!from || strlen(from) >= size) return -1;
  strcpy(to, from);
  return 0;
}

static int read_pythons(struct conf *conf) {
  for (char *word; (word = strtok(NULL, " "));) {
    if (conf->python_count == MAX_PYTHONS || copy(conf->pythons[conf->python_count++], sizeof conf->pythons[0], word)) return -1;
    if (strncmp(word, "3.", 2) || strspn(word + 2, "0123456789") != strlen(word) - 2) return -1;
  }
  return conf->python_count ? 0 : -1;
}

static int read_events(struct conf *conf) {
  size_t length = 0;
  for (char *word; (word = strtok(NULL, " "));) {
    if (strcmp(word, "INVOKE") && strcmp(word, "SHUTDOWN")) return -1;
    length = text_add(conf->events, sizeof conf->events, length, length ? ",\"" : "\"");
    length = text_add(conf->events, sizeof conf->events, length, word);
    length = text_add(conf->events, sizeof conf->events, length, "\"");
  }
  return 0;
}

static int read_port(struct conf *conf) {
  if (conf->port_count == MAX_PORTS) return -1;
  struct port *port = &conf->ports[conf->port_count++];
  char *number;
  port->fds[0] = port->fds[1] = -1;
  if (copy(port->name, sizeof port->name, strtok(NULL, " "))) return -1;
  if (!(number = strtok(NULL, " ")) || !*number || strspn(number, "0123456789") != strlen(number)) return -1;
  port->number = atoi(number);
  if (strlen(number) > 5 || port->number > 65535) return -1;
  if (copy(port->variables, sizeof port->variables, strtok(NULL, " "))) return -1;
  if (copy(port->file, sizeof port->file, strtok(NULL, " ")) || strtok(NULL, " ")) return -1;
  if (!strcmp(port->variables, "-")) port->variables[0] = 0;
  if (!strcmp(port->file, "-")) port->file[0] = 0;
  return port->file[0] && port->file[0] != '/' ? -1 : 0;
}

static int read_line(struct conf *conf, int number, char *line) {
  if (number == 1) return strcmp(line, "extension-kit-launcher 1");
  char *word = strtok(line, " ");
  if (!word) return -1;
  if (number == 2) return strcmp(word, "pythons") ? -1 : read_pythons(conf);
  if (number == 3) {
    char *when = strcmp(word, "register") ? NULL : strtok(NULL, " ");
    if (!when || strtok(NULL, " ")) return -1;
    conf->early = !strcmp(when, "early");
    return conf->early || !strcmp(when, "late") ? 0 : -1;
  }
  if (number == 4) return strcmp(word, "events") ? -1 : read_events(conf);
  return strcmp(word, "port") ? -1 : read_port(conf);
}

/* 0, or -1 with the reason in `why`. */
int conf_read(struct conf *conf, const char *path, char *why, size_t size) {
  memset(conf, 0, sizeof *conf);
  text_add(why, size, text_add(why, size, 0, path), ": cannot be read");
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t have = 0;
  ssize_t got;
  while (have < sizeof text - 1 && (got = read(fd, text + have, sizeof text - 1 - have)) > 0) have += got;
  close(fd);
  if (have == sizeof text - 1 || memchr(text, 0, have)) return -1;
  text[have] = 0;
  int number = 0;
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    if (read_line(conf, ++number, line)) {
      char digits[4] = {'0' + number / 10 % 10, '0' + number % 10, 0};
      text_add(why, size, text_add(why, size, text_add(why, size, 0, path), ": not understood, line "), digits);
      return -1;
    }
  }
  return number >= 4 ? 0 : -1;
}
