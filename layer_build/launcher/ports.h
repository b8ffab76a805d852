/* The ports of an extension: bound and listened on before Python is up, so that callers wait instead of being refused. */
#ifndef PORTS_H
#define PORTS_H

#include "config.h"
#include "text.h"

struct listeners {
  int fds[2]; /* 127.0.0.1 and ::1; -1 where there is none */
  char why[160]; /* where there is neither: why not */
};

/* Binds and listens on what `port` asks for, its variables honoured, and writes its file. */
void listen_on(const struct port *port, struct listeners *found);
void close_listeners(const struct port *port, struct listeners *found);

#endif
