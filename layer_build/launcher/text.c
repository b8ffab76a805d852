#include "text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

const char *own_name = "launcher";

void put_part(struct text *text, const char *piece, size_t length) {
  size_t room = text->size - 1 - text->length;
  if (length > room) {
    length = room;
    text->cut = true;
  }
  memcpy(text->start + text->length, piece, length);
  text->length += length;
  text->start[text->length] = 0;
}

void put_all(struct text *text, const char *const *pieces) {
  for (; *pieces; pieces++) put_part(text, *pieces, strlen(*pieces));
}

void say_all(const char *const *pieces) {
  char line[2048] = "";
  struct text text = {line, sizeof line - 1, 0, false}; /* one byte is kept for the end of the line */
  PUT(&text, "[", own_name, "] ");
  put_all(&text, pieces);
  for (size_t i = 0; i < text.length; i++)
    if ((unsigned char)line[i] < ' ' || line[i] == 127) line[i] = '?';
  line[text.length++] = '\n';
  /* In one piece: other processes write to the same log. A log that is closed or full is no reason to end. */
  while (write(2, line, text.length) < 0 && errno == EINTR) {
  }
}

const char *decimal(unsigned long number) {
  static char buffers[4][24];
  static unsigned turn;
  char *end = buffers[turn++ % 4] + 23;
  *end = 0;
  do *--end = (char)('0' + number % 10);
  while (number /= 10);
  return end;
}

long number_in(const char *word, size_t length, long most) {
  long number = 0;
  if (length == 0) return -1;
  for (size_t i = 0; i < length; i++) {
    if (word[i] < '0' || word[i] > '9') return -1;
    number = number * 10 + (word[i] - '0');
    if (number > most) return -1;
  }
  return number;
}

const char *trimmed(const char *word, size_t *length) {
  static const char blanks[] = " \t\r\n\f\v";
  while (*word && strchr(blanks, *word)) word++;
  *length = strlen(word);
  while (*length && strchr(blanks, word[*length - 1])) (*length)--;
  return word;
}
