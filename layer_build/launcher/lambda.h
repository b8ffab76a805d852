/* The Extensions API 2020-01-01, as much of it as comes before Python is up, and where Python never will be. */
#ifndef LAMBDA_H
#define LAMBDA_H

#include <stdbool.h>
#include <stddef.h>

#include "http.h"
#include "text.h"

struct platform {
  const char *host; /* AWS_LAMBDA_RUNTIME_API as it is */
  struct address address;
  struct connection *connection;
  char identifier[128];
  char answer[32768]; /* the body of the registration's answer, "{}" where it cannot be had */
};

/* Registers, tries again where that may help; false, with a line's text in `why`, where it was refused. */
bool register_extension(struct platform *platform, bool on_invoke, bool on_shutdown, struct text *why);
/* Asks for event after event until SHUTDOWN; the exit status. */
int ignore_events(struct platform *platform);
/* init/error, best effort. */
void report_init_error(struct platform *platform, const char *error_type);

#endif
