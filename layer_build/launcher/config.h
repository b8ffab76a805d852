/* launcher.conf: what this extension wants done before Python is up (layer_build/README.md describes it). */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>

enum { MAX_PYTHONS = 8, MAX_PORTS = 16 };

struct port {
  const char *name;
  unsigned short number; /* 0: any free one */
  const char *variables; /* between commas; "" for none */
  const char *file;      /* where the number is written to; "" for nowhere */
};

/* What this environment wants of the file: ports of plug-ins that are not to run are left out. */
struct config {
  const char *pythons[MAX_PYTHONS]; /* "3.13", best first */
  size_t python_count;
  bool late; /* Python registers: a plug-in that is to run wants that */
  bool on_invoke, on_shutdown;
  struct port ports[MAX_PORTS];
  size_t port_count;
};

struct text;
/* Reads the file at `path`; false, with the reason in `why`, where it cannot be read or has anything unknown in it. */
bool read_config(struct config *config, const char *path, struct text *why);

#endif
