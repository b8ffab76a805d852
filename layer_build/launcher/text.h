/* Text of bounded length, put together from pieces; there are no formats, so that nothing can be taken for one. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* What does not fit is left out, and `cut` says so; `start` always ends in NUL. */
struct text {
  char *start;
  size_t size, length;
  bool cut;
};

#define TEXT(array) ((struct text){(array), sizeof(array), 0, false})
#define PUT(text, ...) put_all((text), (const char *const[]){__VA_ARGS__, NULL})
/* One line on stderr, "[name] ..."; control characters in it become '?'. */
#define SAY(...) say_all((const char *const[]){__VA_ARGS__, NULL})

void put_part(struct text *text, const char *piece, size_t length);
void put_all(struct text *text, const char *const *pieces);
void say_all(const char *const *pieces);

/* The name that lines begin with. */
extern const char *own_name;

/* `number` in decimal, in one of a few buffers that are used in turn. */
const char *decimal(unsigned long number);
/* The number that `word` is, all digits and at most `most`; -1 where it is none. */
long number_in(const char *word, size_t length, long most);
/* Where `word` begins and how long it is without blanks around it. */
const char *trimmed(const char *word, size_t *length);

#endif
