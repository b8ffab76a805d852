#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "text.h"

static char content[8192]; /* the words of a config point into it */

static bool read_whole(const char *path, struct text *why) {
  size_t have = 0;
  ssize_t got = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    PUT(why, path, " cannot be read: ", strerror(errno));
    return false;
  }
  while (have < sizeof content && (got = read(fd, content + have, sizeof content - have)) > 0) have += (size_t)got;
  int error = errno;
  close(fd);
  if (got < 0) {
    PUT(why, path, " cannot be read: ", strerror(error));
    return false;
  }
  if (have == sizeof content || memchr(content, 0, have)) {
    PUT(why, path, " is no launcher.conf: it is too long, or not text");
    return false;
  }
  content[have] = 0;
  return true;
}

/* Cuts the next word off `*rest`; NULL where there is none. */
static char *next_word(char **rest) {
  char *word = *rest + strspn(*rest, " ");
  if (!*word) return NULL;
  char *end = word + strcspn(word, " ");
  *rest = *end ? end + 1 : end;
  *end = 0;
  return word;
}

static bool is_version(const char *word) {
  return strlen(word) <= 5 && !strncmp(word, "3.", 2) && number_in(word + 2, strlen(word + 2), 999) >= 0;
}

static bool take_pythons(struct config *config, char *rest) {
  for (char *word; (word = next_word(&rest));) {
    if (config->python_count == MAX_PYTHONS || !is_version(word)) return false;
    config->pythons[config->python_count++] = word;
  }
  return config->python_count > 0;
}

static bool is_blank(char c) { return c && strchr(" \t\r\n\f\v", c); }

/* The next item of a list between commas, without blanks around it; its length, 0 where there is no other. */
static size_t next_item(const char **rest, const char **item) {
  while (is_blank(**rest) || **rest == ',') (*rest)++;
  *item = *rest;
  *rest += strcspn(*rest, ",");
  size_t length = (size_t)(*rest - *item);
  while (length && is_blank((*item)[length - 1])) length--;
  return length;
}

/* Whether EXTENSION_KIT_PLUGINS wants the plug-in: an empty list, and one that the kit refuses, stands for all of them. */
static bool is_chosen(const char *name, size_t length) {
  const char *rest = getenv("EXTENSION_KIT_PLUGINS"), *item;
  size_t found;
  bool any = false;
  if (!rest) return true;
  size_t written;
  const char *text = trimmed(rest, &written);
  for (size_t i = 0; i < written; i++)
    if ((unsigned char)text[i] < ' ' || text[i] == 127) return true;
  while ((found = next_item(&rest, &item))) {
    any = true;
    if (found == length && !strncmp(item, name, length)) return true;
  }
  return !any;
}

/* The words that stand for true in a setting. */
static bool is_true(const char *variable, size_t length) {
  static const char *const words[] = {"1", "true", "yes", "on"};
  char name[256];
  if (length >= sizeof name) return false;
  memcpy(name, variable, length);
  name[length] = 0;
  const char *value = getenv(name);
  if (!value) return false;
  value = trimmed(value, &length);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == length && !strncasecmp(value, words[i], length)) return true;
  return false;
}

/* Whether one of `words`, PLUGIN or PLUGIN:VARIABLE between commas, applies: it is to run, and its variable is true. */
static bool applies(const char *words) {
  const char *word;
  size_t length;
  while ((length = next_item(&words, &word))) {
    const char *colon = memchr(word, ':', length);
    size_t name = colon ? (size_t)(colon - word) : length;
    if (is_chosen(word, name) && (!colon || is_true(colon + 1, length - name - 1))) return true;
  }
  return false;
}

static bool take_register(struct config *config, char *rest) {
  char *when = next_word(&rest), *who = next_word(&rest);
  if (!when || next_word(&rest) || (strcmp(when, "late") && (who || strcmp(when, "early")))) return false;
  config->late = !strcmp(when, "late") && (!who || applies(who));
  return true;
}

static bool take_events(struct config *config, char *rest) {
  for (char *word; (word = next_word(&rest));) {
    if (!strcmp(word, "INVOKE")) config->on_invoke = true;
    else if (!strcmp(word, "SHUTDOWN")) config->on_shutdown = true;
    else return false;
  }
  return true;
}

static bool take_port(struct config *config, char *rest) {
  char *name = next_word(&rest), *number = next_word(&rest), *variables = next_word(&rest), *file = next_word(&rest);
  char *who = next_word(&rest);
  if (config->port_count == MAX_PORTS || !file || next_word(&rest)) return false;
  long value = number_in(number, strlen(number), 65535);
  if (value < 0 || strlen(name) > 64 || strpbrk(name, "=!") || (strcmp(file, "-") && *file != '/')) return false;
  if (who && !applies(who)) return true; /* nobody would answer there */
  config->ports[config->port_count++] = (struct port){
      .name = name,
      .number = (unsigned short)value,
      .variables = strcmp(variables, "-") ? variables : "",
      .file = strcmp(file, "-") ? file : "",
  };
  return true;
}

/* The lines of the file, in this order; the last may come any number of times, also not at all. */
static const struct {
  const char *word;
  bool (*take)(struct config *, char *);
} LINES[] = {{"pythons", take_pythons}, {"register", take_register}, {"events", take_events}, {"port", take_port}};

bool read_config(struct config *config, const char *path, struct text *why) {
  size_t number = 0;
  *config = (struct config){0};
  if (!read_whole(path, why)) return false;
  for (char *line = content; *line; number++) {
    char *end = line + strcspn(line, "\n");
    char *after = *end ? end + 1 : end;
    *end = 0;
    bool good;
    if (number == 0) {
      good = !strcmp(line, "extension-kit-launcher 1");
    } else {
      size_t kind = number <= 4 ? number - 1 : 3, length = strlen(LINES[kind].word);
      good = !strncmp(line, LINES[kind].word, length) && (!line[length] || line[length] == ' ');
      good = good && LINES[kind].take(config, line + length + (line[length] == ' '));
    }
    if (!good) {
      PUT(why, path, ": line ", decimal(number + 1), " is not understood");
      return false;
    }
    line = after;
  }
  if (number < 4) PUT(why, path, ": it ends too early");
  return number >= 4;
}
