/* Identifiers that need no coordination. */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>

#define ID_SIZE 37
/* A UUID of version 7 (RFC 9562): 48 bits of wall-clock milliseconds, then randomness
 * from the kernel; so ids sort by time of making and cannot be guessed. Ends the process
 * if the kernel gives no randomness. Returns `out`. */
const char *id_new(char out[ID_SIZE]);
/* Whether `text` has the shape of a UUID: what may be looked up, or used in a path. */
bool id_valid(const char *text);

#endif
