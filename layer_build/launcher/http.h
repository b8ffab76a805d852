/* The client's side of HTTP/1.1, as much as the Extensions API needs of it: one connection, one answer at a time. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct address {
  struct sockaddr_storage socket;
  socklen_t length;
};

struct connection {
  int fd;          /* -1: none */
  int patience_ms; /* how long to wait for more of an answer; -1: for ever */
  size_t at, end;  /* what of `buffer` has arrived and was not taken yet */
  char buffer[16384];
};

struct answer {
  int status;
  bool keep;       /* the connection may be used again */
  bool has_length; /* else it is in chunks, or goes on until the connection ends */
  bool chunked;
  bool began, done; /* with chunks */
  unsigned long long left;
  char identifier[128]; /* Lambda-Extension-Identifier, "" where there is none */
};

enum { BODY_ENDED = -1, BODY_BROKEN = -2 };

/* "127.0.0.1:9001" or "[::1]:9001"; false for what would have to be looked up, or is no address at all. */
bool parse_address(struct address *address, const char *text);
/* Connects within some seconds; false, with errno, where that fails. */
bool dial(struct connection *connection, const struct address *address, int seconds);
void hang_up(struct connection *connection);
/* Sends `length` bytes; false where the connection fails. */
bool send_all(struct connection *connection, const char *data, size_t length);
/* Reads the head of an answer, interim ones passed over; false where it breaks off or is none. */
bool read_head(struct connection *connection, struct answer *answer);
/* The next byte of the body, BODY_ENDED or BODY_BROKEN. */
int body_byte(struct connection *connection, struct answer *answer);

#endif
