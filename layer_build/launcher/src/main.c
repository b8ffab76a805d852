/* What happens in which order; see launcher.h for why. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "launcher.h"

#define LANG_BIN "/var/lang/bin/"
#define ALL_EVENTS "\"SHUTDOWN\"" /* an extension that does nothing need not hear of invocations */

extern char **environ;
static struct conf conf;
static struct session session = {.fd = -1};
static char opt[PATH_MAX], boot[PATH_MAX + 64], python[PATH_MAX + 64], why[MAX_TEXT];

/* Appends as much as fits; the new length. */
size_t text_add(char *to, size_t size, size_t length, const char *more) {
  size_t count = strlen(more);
  if (length + count >= size) count = size - 1 - length;
  memcpy(to + length, more, count);
  to[length + count] = 0;
  return length + count;
}

/* One line on stderr, in one write: two extensions may speak at once. */
void say(const char *name, const char *text, const char *more) {
  char line[2 * MAX_TEXT];
  size_t length = text_add(line, sizeof line - 1, 0, "[");
  length = text_add(line, sizeof line - 1, length, name);
  length = text_add(line, sizeof line - 1, length, "] ");
  length = text_add(line, sizeof line - 1, length, text);
  length = text_add(line, sizeof line - 1, length, more);
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)line[i] < ' ') line[i] = ' ';
  line[length++] = '\n';
  if (write(2, line, length) < 0) return; /* nobody listens: no reason to end */
}

/* Where /opt is, by where this file is: elsewhere on a developer's machine. */
static int find_opt(const char *program) {
  if (strchr(program, '/')) {
    if (strlen(program) >= sizeof opt) return -1;
    strcpy(opt, program);
  } else {
    ssize_t length = readlink("/proc/self/exe", opt, sizeof opt - 1);
    if (length <= 0) return -1;
    opt[length] = 0;
  }
  *strrchr(opt, '/') = 0; /* extensions */
  char *slash = strrchr(opt, '/');
  if (slash)
    *slash = 0;
  else
    strcpy(opt, ".");
  return 0;
}

/* Neither registered nor able to: what Lambda makes of an exit is said by EXTENSION_KIT_ON_FAILURE. */
static _Noreturn void give_up(const char *text) {
  const char *wish = getenv("EXTENSION_KIT_ON_FAILURE");
  int crash = wish && !strcasecmp(wish, "crash");
  say(session.name, text, crash ? "; the environment ends (EXTENSION_KIT_ON_FAILURE=crash)" : "; the function goes on without it");
  ports_close(&conf);
  if (!session.identifier[0]) {
    enum registered done = api_register(&session, ALL_EVENTS, why, sizeof why);
    if (done != REGISTERED) {
      say(session.name, "cannot register: ", done == REFUSED ? why : "AWS_LAMBDA_RUNTIME_API is no IP address and port");
      _exit(1);
    }
  }
  if (!crash) api_idle(&session);
  api_init_error(&session);
  _exit(1);
}

/* `--idle IDENTIFIER CONNECTION TEXT`: Python came so far and no further. Its sockets are still open here. */
static _Noreturn void idle(int count, char **words) {
  int keep = count > 3 && strcmp(words[3], "-") ? atoi(words[3]) : -1;
  for (int fd = 3; fd < 1024; fd++)
    if (fd != keep) close(fd);
  session.fd = keep > 2 ? keep : -1;
  if (count > 2) text_add(session.identifier, sizeof session.identifier, 0, words[2]);
  give_up(count > 4 ? words[4] : "it cannot go on");
}

/* What the runtime has instead: "; /var/lang/bin has python3.12". */
static void add_what_is_there(char *text, size_t size, size_t length) {
  DIR *folder = opendir(LANG_BIN);
  const char *before = "; " LANG_BIN " has ";
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    const char *name = entry->d_name;
    if (strncmp(name, "python3.", 8) || strspn(name + 8, "0123456789") != strlen(name + 8)) continue;
    length = text_add(text, size, text_add(text, size, length, before), name);
    before = ", ";
  }
  if (folder) closedir(folder);
  if (*before == ';') text_add(text, size, length, "; this runtime has no Python in " LANG_BIN);
}

/* The interpreter into `python`; -1 with the reason in `why`. */
static int find_python(void) {
  const char *wish = getenv("EXTENSION_KIT_PYTHON");
  if (wish && *wish) {
    text_add(python, sizeof python, 0, wish);
    if (!access(python, X_OK)) return 0;
    snprintf(why, sizeof why, "EXTENSION_KIT_PYTHON=%.300s: %s", wish, strerror(errno));
    return -1;
  }
  for (int i = 0; i < conf.python_count; i++) {
    snprintf(python, sizeof python, LANG_BIN "python%s", conf.pythons[i]);
    if (!access(python, X_OK)) return 0;
  }
  for (int i = 0; i < conf.python_count; i++) {
    const char *version = conf.pythons[i];
    snprintf(python, sizeof python, "%s/extension-kit-python/%s/bin/python%s", opt, version, version);
    if (!access(python, X_OK)) return 0;
  }
  size_t length = text_add(why, sizeof why, 0, "no interpreter: this layer is for Python ");
  for (int i = 0; i < conf.python_count; i++)
    length = text_add(why, sizeof why, text_add(why, sizeof why, length, i ? ", " : ""), conf.pythons[i]);
  add_what_is_there(why, sizeof why, length);
  return -1;
}

/* What the function sets for its own loader and its own TLS is not meant for us. */
static int is_ours(const char *variable) {
  return strncmp(variable, "LD_", 3) && strncmp(variable, "SSL_CERT_", 9) && strncmp(variable, "OPENSSL_", 8);
}

static void become_python(void) {
  static char words[MAX_PORTS][sizeof(struct port)], fd[16];
  char *arguments[8 + MAX_PORTS + 3] = {python, "-I", "-S", "-X", "utf8", boot, session.identifier, session.answer, fd};
  int count = 0, given = 9;
  while (environ[count]) count++;
  char *clean[count + 2];
  count = 0;
  for (char **variable = environ; *variable; variable++)
    if (is_ours(*variable)) clean[count++] = *variable;
  /* A runtime's Python may need its own library: a fixed place, and nothing of the function's. */
  if (!strncmp(python, LANG_BIN, strlen(LANG_BIN))) clean[count++] = "LD_LIBRARY_PATH=/var/lang/lib";
  clean[count] = NULL;
  snprintf(fd, sizeof fd, session.fd < 0 ? "-" : "%d", session.fd);
  for (int i = 0; i < conf.port_count; i++) {
    struct port *port = &conf.ports[i];
    if (port->why_not[0])
      snprintf(words[i], sizeof words[i], "%s!%s", port->name, port->why_not);
    else if (port->fds[1] < 0)
      snprintf(words[i], sizeof words[i], "%s=%d", port->name, port->fds[0]);
    else
      snprintf(words[i], sizeof words[i], "%s=%d,%d", port->name, port->fds[0], port->fds[1]);
    arguments[given++] = words[i];
  }
  execve(python, arguments, clean);
  snprintf(why, sizeof why, "%.300s cannot be started: %s", python, strerror(errno));
}

int main(int count, char **words) {
  const char *slash = count ? strrchr(words[0], '/') : NULL;
  session.name = count ? (slash ? slash + 1 : words[0]) : "extension";
  session.api = getenv("AWS_LAMBDA_RUNTIME_API");
  if (!session.api) {
    say(session.name, "AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment", "");
    return 2;
  }
  if (count > 1 && !strcmp(words[1], "--idle")) idle(count, words);
  if (!count || find_opt(words[0])) give_up("it cannot find itself");
  char path[PATH_MAX + 64];
  snprintf(path, sizeof path, "%s/%s/launcher.conf", opt, session.name);
  snprintf(boot, sizeof boot, "%s/%s/boot.py", opt, session.name);
  if (conf_read(&conf, path, why, sizeof why)) {
    conf.port_count = 0;
    give_up(why);
  }
  ports_open(&conf, session.name);
  if (conf.early && api_register(&session, conf.events, why, sizeof why) == REFUSED) {
    say(session.name, "cannot register: ", why);
    return 1;
  }
  if (!find_python()) become_python();
  give_up(why);
}
