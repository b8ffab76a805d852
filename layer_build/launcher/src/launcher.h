/* The launcher: registers an extension before its Python is up, and is there where Python is not.
 *
 * It binds the ports that the extension's callers expect, registers with the Extensions API, and becomes the interpreter, which
 * it hands the registration and the open sockets. Lambda starts the function's runtime as soon as every extension has
 * registered: Python boots beside it instead of before it. What is said between the parts stands in layer_build/README.md.
 *
 * No heap, no threads, no locale; every buffer is bounded. One process, one connection. */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include <stddef.h>

#define MAX_PORTS 8
#define MAX_PYTHONS 8
#define MAX_TEXT 1024
#define MAX_ANSWER 65536

/* One port of the manifest, and what came of it: listening sockets, or why not. */
struct port {
  char name[33];
  int number;
  char variables[256]; /* separated by commas, "" for none */
  char file[256];      /* where the number is written, "" for nowhere; with a file any free port will do */
  int fds[2];          /* 127.0.0.1 and ::1, -1 for none */
  char why_not[128];
};

/* launcher.conf */
struct conf {
  char pythons[MAX_PYTHONS][8];
  int python_count;
  int early;
  char events[64]; /* as JSON: "INVOKE","SHUTDOWN" */
  struct port ports[MAX_PORTS];
  int port_count;
};

/* Where this extension stands with the Extensions API. */
struct session {
  const char *name;       /* the file's name, which is the registered name */
  const char *api;        /* HOST:PORT */
  int fd;                 /* the connection, -1 for none */
  char identifier[128];   /* "" before the registration */
  char answer[MAX_ANSWER]; /* the body of the registration's answer */
};

/* conf.c */
int conf_read(struct conf *conf, const char *path, char *why, size_t size);

/* ports.c */
void ports_open(struct conf *conf, const char *name);
void ports_close(struct conf *conf);

/* http.c */
int api_is_literal(const char *api);
int http_dial(struct session *session);
/* One request, one answer: its status, 0 where the connection failed. `head` and `body` are strings within `buffer`, cut to its
 * size; of a longer answer the rest is read and dropped. */
int http_exchange(struct session *session, const char *request, size_t length, char *buffer, size_t size, char **body);
int http_header(const char *head, const char *name, char *value, size_t size);

/* api.c */
enum registered { REGISTERED, REFUSED, NOT_POSSIBLE };
enum registered api_register(struct session *session, const char *events, char *why, size_t size);
void api_init_error(struct session *session);
_Noreturn void api_idle(struct session *session);

/* main.c */
void say(const char *name, const char *text, const char *more);
size_t text_add(char *buffer, size_t size, size_t length, const char *more);

#endif
