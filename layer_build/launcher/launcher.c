/* The file in extensions/. Registers with Lambda before Python is up, so that the runtime need not wait for it, then becomes
 * Python. layer_build/README.md says what it reads (launcher.conf) and what it hands over.
 *
 * The order: an interpreter is looked for (where there is none, nobody shall find a port open), ports are bound and listened
 * on, the registration is sent, Python is executed. Where that cannot be, EXTENSION_KIT_ON_FAILURE decides: the process stays
 * and takes every event (idle), or it reports the failure and ends (crash).
 *
 * Exit status: 0 after SHUTDOWN, 1 where the platform refuses or is gone, 2 outside an environment. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "lambda.h"
#include "ports.h"

#define LANG_BIN "/var/lang/bin/"

extern char **environ;

static char own_path[PATH_MAX]; /* of this file */
static char opt[PATH_MAX];      /* where it lies in a layer: the folder above extensions/ */
static struct connection connection;
static struct platform platform;
static struct config config;
static struct listeners listeners[MAX_PORTS];

/* Sets own_path, own_name and opt from the name by which this was started. */
static void find_itself(const char *called) {
  ssize_t length = strchr(called, '/') ? -1 : readlink("/proc/self/exe", own_path, sizeof own_path - 1);
  if (length >= 0) {
    own_path[length] = 0;
  } else {
    struct text path = TEXT(own_path);
    PUT(&path, called);
  }
  struct text text = TEXT(opt);
  char *slash = strrchr(own_path, '/');
  own_name = slash ? slash + 1 : own_path;
  size_t folder = slash ? (size_t)(slash - own_path) : 0;
  while (folder > 1 && own_path[folder - 1] == '/') folder--;
  size_t above = folder;
  while (above > 1 && own_path[above - 1] != '/') above--;
  if (*own_path == '/' && above > 1) put_part(&text, own_path, above - 1);
  else if (*own_path != '/') {
    put_part(&text, own_path, folder);
    PUT(&text, "/..");
  }
}

static bool can_run(const char *path) {
  struct stat file;
  if (access(path, X_OK) || stat(path, &file)) return false;
  if (S_ISREG(file.st_mode)) return true;
  errno = EISDIR;
  return false;
}

/* Which Pythons the runtime has, for the line that says why none will do. */
static void put_what_is_there(struct text *text) {
  bool any = false;
  for (unsigned long minor = 0; minor < 100; minor++) {
    char path[64] = "";
    struct text name = TEXT(path);
    PUT(&name, LANG_BIN "python3.", decimal(minor));
    if (access(path, F_OK)) continue;
    PUT(text, any ? ", " : LANG_BIN " has ", "python3.", decimal(minor));
    any = true;
  }
  if (!any) PUT(text, LANG_BIN " has no Python");
}

/* The interpreter to become; false, with the reason, where there is none. */
static bool find_python(struct text *python, struct text *why) {
  size_t length;
  const char *named = getenv("EXTENSION_KIT_PYTHON");
  named = named ? trimmed(named, &length) : "";
  if (*named) {
    put_part(python, named, length);
    if (can_run(python->start)) return true;
    PUT(why, "EXTENSION_KIT_PYTHON=", python->start, " cannot be run: ", strerror(errno));
    return false;
  }
  for (int own = 0; own < 2; own++) {
    for (size_t i = 0; i < config.python_count; i++) {
      const char *version = config.pythons[i];
      python->length = 0;
      if (own) PUT(python, opt, "/extension-kit-python/", version, "/bin/python", version);
      else PUT(python, LANG_BIN "python", version);
      if (!python->cut && can_run(python->start)) return true;
    }
  }
  PUT(why, "no Python: this layer supports");
  for (size_t i = 0; i < config.python_count; i++) PUT(why, i ? ", " : " ", config.pythons[i]);
  PUT(why, "; ");
  put_what_is_there(why);
  PUT(why, ", and no layer brings one");
  return false;
}

/* Nothing of the function's reaches our Python: what a dynamic linker and OpenSSL would heed is taken out. */
static void clean_environment(const char *python) {
  static const char *const refused[] = {"LD_", "SSL_CERT_", "OPENSSL_"};
  char **kept = environ;
  for (char **one = environ; *one; one++) {
    bool keep = true;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
      keep = keep && strncmp(*one, refused[i], strlen(refused[i]));
    if (keep) *kept++ = *one;
  }
  *kept = NULL;
  /* The runtime's own Python may need the library that lies beside it. */
  if (!strncmp(python, LANG_BIN, sizeof LANG_BIN - 1)) setenv("LD_LIBRARY_PATH", "/var/lang/lib", 1);
}

static void keep_over_exec(int fd) { fcntl(fd, F_SETFD, 0); }

/* "NAME=FD,FD" or "NAME!WHY NOT"; the sockets stay open in what we become. */
static void put_port(struct text *text, const struct port *port, const struct listeners *found) {
  const char *between = "=";
  PUT(text, port->name);
  for (int i = 0; i < 2; i++) {
    if (found->fds[i] < 0) continue;
    keep_over_exec(found->fds[i]);
    PUT(text, between, decimal((unsigned long)found->fds[i]));
    between = ",";
  }
  if (*between == '=') PUT(text, "!", found->why);
}

/* Returns only where it fails, with errno. */
static void become_python(char *python) {
  static char boot[PATH_MAX], descriptor[24] = "", ports[MAX_PORTS][256];
  char *arguments[12 + MAX_PORTS] = {python, "-I", "-S", "-X", "utf8", boot, platform.identifier, platform.answer};
  size_t count = 8;
  struct text text = TEXT(boot), number = TEXT(descriptor);
  PUT(&text, opt, "/", own_name, "/boot.py");
  PUT(&number, connection.fd < 0 ? "-" : decimal((unsigned long)connection.fd));
  arguments[count++] = descriptor;
  if (connection.fd >= 0) keep_over_exec(connection.fd);
  for (size_t i = 0; i < config.port_count; i++) {
    struct text port = TEXT(ports[i]);
    put_port(&port, &config.ports[i], &listeners[i]);
    arguments[count++] = ports[i];
  }
  clean_environment(python);
  execv(python, arguments);
}

/* What is opened from here on must not be taken for stdin, stdout or stderr. */
static void occupy_standard_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd < 3);
  if (fd >= 3) close(fd);
}

static bool on_managed_instances(void) {
  const char *kind = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
  return kind && !strcmp(kind, "lambda-managed-instances");
}

/* What is left where Python cannot be: the exit status. */
static int go_on_without(const char *why) {
  size_t length = 0;
  const char *wanted = getenv("EXTENSION_KIT_ON_FAILURE");
  wanted = wanted ? trimmed(wanted, &length) : "";
  bool crash = length == 5 && !strncasecmp(wanted, "crash", 5);
  bool idle = !length || (length == 4 && !strncasecmp(wanted, "idle", 4));
  char reason[1024] = "";
  struct text refusal = TEXT(reason);
  SAY(why, crash ? "; the environment ends, as EXTENSION_KIT_ON_FAILURE=crash wants it"
                 : "; the function goes on without it");
  if (!crash && !idle) SAY("EXTENSION_KIT_ON_FAILURE is neither idle nor crash: idle is used instead");
  /* Without INVOKE no invocation waits for this process. */
  if (!*platform.identifier && !register_extension(&platform, false, true, &refusal)) {
    SAY("cannot register: ", reason);
    return 1;
  }
  if (!crash) return ignore_events(&platform);
  report_init_error(&platform, "Extension.LaunchFailed");
  return 1;
}

/* boot.py comes back: --idle IDENTIFIER CONNECTION TEXT. */
static int come_back(char **arguments) {
  struct text identifier = TEXT(platform.identifier);
  long fd = number_in(arguments[3], strlen(arguments[3]), 65535);
  PUT(&identifier, arguments[2]);
  /* The sockets that were handed over are still open: callers shall be refused, not wait for ever. */
  for (int other = 3; other < 1024; other++)
    if (other != fd) close(other);
  static char path[PATH_MAX], ignored[1024];
  struct text conf = TEXT(path), why = TEXT(ignored);
  PUT(&conf, opt, "/", own_name, "/launcher.conf");
  if (read_config(&config, path, &why))
    for (size_t i = 0; i < config.port_count; i++)
      if (*config.ports[i].file) unlink(config.ports[i].file);
  if (fd >= 0 && fcntl((int)fd, F_GETFD) >= 0) connection.fd = (int)fd;
  return go_on_without(arguments[4]);
}

int main(int count, char **arguments) {
  static char path[PATH_MAX], python[PATH_MAX], reason[1024];
  struct text conf = TEXT(path), found = TEXT(python), why = TEXT(reason);
  signal(SIGPIPE, SIG_IGN); /* of a log that is closed; Python ignores it as well */
  occupy_standard_streams();
  connection.fd = -1;
  platform.connection = &connection;
  find_itself(count > 0 ? arguments[0] : "launcher");
  platform.host = getenv("AWS_LAMBDA_RUNTIME_API");
  if (!platform.host || !*platform.host) {
    SAY("AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment");
    return 2;
  }
  bool literal = parse_address(&platform.address, platform.host);
  if (count == 5 && !strcmp(arguments[1], "--idle")) return come_back(arguments);
  PUT(&conf, opt, "/", own_name, "/launcher.conf");
  if (!read_config(&config, path, &why) || !find_python(&found, &why)) return go_on_without(reason);
  for (size_t i = 0; i < config.port_count; i++) listen_on(&config.ports[i], &listeners[i]);
  if (literal && !config.late && !register_extension(&platform, config.on_invoke && !on_managed_instances(),
                                                     config.on_shutdown || on_managed_instances(), &why)) {
    SAY("cannot register: ", reason);
    return 1;
  }
  become_python(python);
  int error = errno;
  for (size_t i = 0; i < config.port_count; i++) close_listeners(&config.ports[i], &listeners[i]);
  PUT(&why, python, " cannot be executed: ", strerror(error));
  return go_on_without(reason);
}
