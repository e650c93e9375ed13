/* What a file that is no recording probably is: only to make a refusal helpful. */
#ifndef MEDIA_SNIFF_H
#define MEDIA_SNIFF_H

#include <stddef.h>
#include <stdint.h>

/* A phrase such as "a ZIP archive", judged by the first bytes; NULL when they say
 * nothing. A string literal. */
const char *sniff_name(const uint8_t *head, size_t length);

#endif
