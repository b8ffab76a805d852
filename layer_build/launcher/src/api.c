/* The Extensions API 2020-01-01, as far as it is needed where Python is not up: register, report, and wait. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "launcher.h"

#define TRIES 4
#define TIMEOUT_S 30

static char request[4096];
static char buffer[MAX_ANSWER];

/* 0: without a limit, as `next` needs it. */
static void limit(int fd, int seconds) {
  struct timeval time = {.tv_sec = seconds};
  if (fd < 0) return;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

static int can_stand_in_a_header(const char *text) {
  for (; *text; text++)
    if (*text < ' ' || *text > '~') return 0;
  return 1;
}

/* One try. The answer goes into `session`; what cannot be kept whole is an empty object, which Python takes for "nothing known". */
static int try_register(struct session *session, size_t length, char **body) {
  if (http_dial(session)) return 0;
  limit(session->fd, TIMEOUT_S);
  int status = http_exchange(session, request, length, buffer, sizeof buffer, body);
  limit(session->fd, 0);
  if (status == 200) {
    http_header(buffer, "lambda-extension-identifier", session->identifier, sizeof session->identifier);
    strcpy(session->answer, *body + strlen(*body) < buffer + sizeof buffer - 2 ? *body : "{}");
  }
  return status;
}

/* Transport errors, 429 and 5xx are tried again, as the kit does it. `events`: as JSON. */
enum registered api_register(struct session *session, const char *events, char *why, size_t size) {
  const char *type = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
  char *body = "", content[128];
  int status = 0;
  if (!api_is_literal(session->api)) return NOT_POSSIBLE;
  if (type && !strcmp(type, "lambda-managed-instances")) events = strstr(events, "SHUTDOWN") ? "\"SHUTDOWN\"" : "";
  int count = snprintf(content, sizeof content, "{\"events\":[%s]}", events);
  int length = snprintf(request, sizeof request,
                        "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Name: %s\r\n"
                        "Lambda-Extension-Accept-Feature: accountId\r\nContent-Type: application/json\r\n"
                        "Content-Length: %d\r\n\r\n%s",
                        session->api, session->name, count, content);
  if (length >= (int)sizeof request || !can_stand_in_a_header(session->name)) {
    text_add(why, size, 0, "its name cannot stand in a header");
    return REFUSED;
  }
  for (int attempt = 1; attempt <= TRIES; attempt++) {
    status = try_register(session, length, &body);
    if (status == 200 && session->identifier[0]) return REGISTERED;
    if (status && status != 429 && status < 500) break;
    if (attempt < TRIES) usleep(50000u << attempt);
  }
  if (!status)
    snprintf(why, size, "%.200s cannot be reached", session->api);
  else if (status == 200)
    text_add(why, size, 0, "200 without the header Lambda-Extension-Identifier");
  else
    snprintf(why, size, "%d %.400s", status, body);
  return REFUSED;
}

/* Best effort: the process exits next in any case. */
void api_init_error(struct session *session) {
  char *body;
  int length = snprintf(request, sizeof request,
                        "POST /2020-01-01/extension/init/error HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Identifier: %s\r\n"
                        "Lambda-Extension-Function-Error-Type: Extension.LaunchFailed\r\nContent-Length: 0\r\n\r\n",
                        session->api, session->identifier);
  if (length >= (int)sizeof request || http_dial(session)) return;
  limit(session->fd, 1);
  http_exchange(session, request, length, buffer, sizeof buffer, &body);
}

/* Quotes within strings of JSON are escaped: this member can be nobody else's text. */
static int is_shutdown(const char *body) {
  for (const char *member = body; (member = strstr(member, "\"eventType\""));) {
    member += 11;
    member += strspn(member, " \t\r\n");
    if (*member++ != ':') continue;
    member += strspn(member, " \t\r\n");
    if (!strncmp(member, "\"SHUTDOWN\"", 10)) return 1;
  }
  return 0;
}

/* Asks for one event after the other and does nothing about them, until SHUTDOWN (exit 0) or the platform is gone (exit 1). */
_Noreturn void api_idle(struct session *session) {
  char *body;
  unsigned wait = 1;
  int failed = 0;
  int length = snprintf(request, sizeof request,
                        "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Identifier: %s\r\n\r\n",
                        session->api, session->identifier);
  if (length >= (int)sizeof request) _exit(1);
  for (;;) {
    int status = http_exchange(session, request, length, buffer, sizeof buffer, &body);
    if (status == 200) {
      if (is_shutdown(body)) _exit(0);
      wait = 1;
      failed = 0;
    } else if (status >= 500 || (!status && failed++)) {
      _exit(1); /* a connection that was idle may have been closed: one fresh try tells */
    } else if (status) {
      sleep(wait);
      wait = wait < 16 ? wait * 2 : 30;
    }
  }
}
