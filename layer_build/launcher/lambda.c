#include "lambda.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define API "/2020-01-01/extension/"

enum {
  TRIES = 4,
  REGISTER_SECONDS = 30,
  CONNECT_SECONDS = 5,
  BODY_MS = 2000, /* for the rest of an answer whose identifier is known: the runtime is starting already */
  REPORT_SECONDS = 1,
  LONGEST_WAIT = 30, /* seconds between two tries where `next` is refused */
};

static char request[2048];

static void pause_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&time, &time) && errno == EINTR) {
  }
}

/* Sends the request and reads the head of its answer, on the connection that is there or a new one. */
static bool ask(struct platform *platform, size_t length, int seconds, struct answer *answer) {
  struct connection *connection = platform->connection;
  if (connection->fd < 0 && !dial(connection, &platform->address, seconds > 0 ? seconds : CONNECT_SECONDS)) return false;
  connection->patience_ms = seconds > 0 ? seconds * 1000 : -1;
  if (send_all(connection, request, length) && read_head(connection, answer)) return true;
  int error = errno;
  hang_up(connection);
  errno = error;
  return false;
}

/* The string that stands in `body` for `key`; `missing` where there is none. */
static void put_value(struct text *text, const char *body, const char *key, const char *missing) {
  const char *at = strstr(body, key);
  if (at) {
    at += strlen(key);
    at += strspn(at, " \t\r\n");
    at = *at == ':' ? at + 1 + strspn(at + 1, " \t\r\n") : NULL;
  }
  if (!at || *at != '"' || at[1] == '"') {
    PUT(text, missing);
    return;
  }
  for (at++; *at && *at != '"'; at++) {
    if (*at == '\\' && at[1]) at++;
    put_part(text, at, 1);
  }
}

/* Reads the body into `platform->answer`; false where it breaks off, does not fit or cannot be handed on. */
static bool read_answer(struct platform *platform, struct answer *answer) {
  size_t length = 0;
  int byte;
  platform->connection->patience_ms = BODY_MS;
  while ((byte = body_byte(platform->connection, answer)) > 0 && length < sizeof platform->answer - 1)
    platform->answer[length++] = (char)byte;
  platform->answer[length] = 0;
  return byte == BODY_ENDED;
}

static void take_registration(struct platform *platform, struct answer *answer) {
  memcpy(platform->identifier, answer->identifier, sizeof platform->identifier);
  /* Without a length the end of the body is the end of the connection, which may be far away. */
  bool whole = (answer->has_length || answer->chunked) && read_answer(platform, answer);
  if (!whole || !*platform->answer) strcpy(platform->answer, "{}");
  bool usual = whole && answer->has_length && answer->keep && platform->connection->at == platform->connection->end;
  if (!usual) hang_up(platform->connection);
}

static bool is_plain(const char *word) {
  for (; *word; word++)
    if (*word <= ' ' || *word > '~') return false;
  return true;
}

static size_t registration(struct platform *platform, bool on_invoke, bool on_shutdown) {
  const char *both = on_invoke && on_shutdown ? "," : "";
  char body[64] = "";
  struct text events = TEXT(body), text = TEXT(request);
  PUT(&events, "{\"events\":[", on_invoke ? "\"INVOKE\"" : "", both, on_shutdown ? "\"SHUTDOWN\"" : "", "]}");
  PUT(&text, "POST " API "register HTTP/1.1\r\nHost: ", platform->host, "\r\nLambda-Extension-Name: ", own_name,
      "\r\nLambda-Extension-Accept-Feature: accountId\r\nContent-Type: application/json\r\nContent-Length: ",
      decimal(events.length), "\r\n\r\n", body);
  return text.cut ? 0 : text.length;
}

bool register_extension(struct platform *platform, bool on_invoke, bool on_shutdown, struct text *why) {
  size_t length = registration(platform, on_invoke, on_shutdown);
  if (length == 0) {
    PUT(why, "AWS_LAMBDA_RUNTIME_API or the name of this file is too long");
    return false;
  }
  for (int attempt = 1; attempt <= TRIES; attempt++) {
    struct answer answer;
    struct text reason = {why->start, why->size, 0, false}; /* of the last attempt */
    if (attempt > 1) pause_ms(50L << (attempt - 1));
    if (!ask(platform, length, REGISTER_SECONDS, &answer)) {
      PUT(&reason, "register: ", platform->host, " cannot be reached: ", strerror(errno));
      continue;
    }
    if (answer.status == 200) {
      if (*answer.identifier && is_plain(answer.identifier)) {
        take_registration(platform, &answer);
        return true;
      }
      PUT(&reason, "register: 200 without a usable Lambda-Extension-Identifier");
      return false;
    }
    bool whole = read_answer(platform, &answer);
    PUT(&reason, "register: ", decimal((unsigned long)answer.status), " ");
    put_value(&reason, platform->answer, "\"errorType\"", "no error type");
    PUT(&reason, ": ");
    put_value(&reason, platform->answer, "\"errorMessage\"", "no message");
    if (!whole || !answer.keep) hang_up(platform->connection);
    if (answer.status != 429 && answer.status < 500) return false;
  }
  return false;
}

static size_t with_identifier(struct platform *platform, const char *method, const char *path, const char *more) {
  struct text text = TEXT(request);
  PUT(&text, method, " " API, path, " HTTP/1.1\r\nHost: ", platform->host,
      "\r\nLambda-Extension-Identifier: ", platform->identifier, "\r\n", more, "\r\n");
  return text.length;
}

/* Whether a body says that its event is SHUTDOWN; it is looked at as it comes, however long it is. */
static bool says_shutdown(struct platform *platform, struct answer *answer, bool *whole) {
  static const char wanted[] = "\"eventType\":\"SHUTDOWN\"";
  size_t matched = 0;
  bool found = false;
  int byte;
  while ((byte = body_byte(platform->connection, answer)) >= 0) {
    if (found || byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') continue;
    /* What a mismatch leaves of a match is at most its quotation mark. */
    if (byte != wanted[matched]) matched = matched && wanted[matched - 1] == '"' && byte == wanted[1] ? 1 : 0;
    if (byte == wanted[matched]) matched++;
    found = !wanted[matched];
    if (found) matched = 0;
  }
  *whole = byte == BODY_ENDED;
  return found;
}

int ignore_events(struct platform *platform) {
  size_t length = with_identifier(platform, "GET", "event/next", "");
  long wait = 0;
  bool failed = false, told = false;
  for (;;) {
    struct answer answer;
    bool whole = false, shutdown = false;
    if (ask(platform, length, 0, &answer)) {
      shutdown = says_shutdown(platform, &answer, &whole) && answer.status == 200;
      if (!whole || !answer.keep) hang_up(platform->connection);
    }
    if (shutdown) return 0;
    if (!whole) {
      /* An idle connection that was closed is normal; one fresh try tells whether the platform is still there. */
      if (failed) {
        SAY("next: ", platform->host, " no longer answers: shutting down");
        return 1;
      }
      failed = true;
      continue;
    }
    failed = false;
    if (answer.status >= 500) {
      SAY("next: ", decimal((unsigned long)answer.status), ": the platform reports a container error: shutting down");
      return 1;
    }
    if (answer.status == 200) {
      wait = 0;
      continue;
    }
    if (!told) SAY("next: refused with ", decimal((unsigned long)answer.status), ": trying again, slowly");
    told = true;
    wait = wait ? wait * 2 : 1;
    if (wait > LONGEST_WAIT) wait = LONGEST_WAIT;
    pause_ms(wait * 1000);
  }
}

void report_init_error(struct platform *platform, const char *error_type) {
  char fields[160] = "";
  struct text text = TEXT(fields);
  struct answer answer;
  PUT(&text, "Lambda-Extension-Function-Error-Type: ", error_type, "\r\nContent-Length: 0\r\n");
  ask(platform, with_identifier(platform, "POST", "init/error", fields), REPORT_SECONDS, &answer);
}
