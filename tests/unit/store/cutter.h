/* A proxy in front of PostgreSQL that cuts connections at a chosen answer, or falls
 * silent.
 */
#ifndef STORE_CUTTER_H
#define STORE_CUTTER_H

#include <stdbool.h>

struct cutter;

/* Relays to the port; its own is cutter_port. */
struct cutter *cutter_start(int to_port);
int cutter_port(const struct cutter *c);
/* Cut, instead of passing it on, at the next answer with this command's tag, such as
 * "COMMIT": `times` times. The server has done what it says by then. */
void cutter_arm(struct cutter *c, const char *tag, int times);
/* How many times are left. */
int cutter_left(struct cutter *c);
/* Take everything and pass nothing on; connections that lost something end with it. */
void cutter_silence(struct cutter *c, bool silent);
void cutter_stop(struct cutter *c);

#endif
