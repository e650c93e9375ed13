/* What `check` and `doctor` try, each by really doing it, and what they found.
 *
 * A finding is one sentence about one thing; where it is not well, the sentence ends with
 * what to do. */
#ifndef COMMAND_CHECKS_H
#define COMMAND_CHECKS_H

#include "base/config.h"

#include <stdbool.h>

enum check_level { CHECK_OK, CHECK_WARN, CHECK_FAIL };

struct finding {
    enum check_level level;
    const char *name; /* borrowed, static: of what was tried */
    char text[700];
};

struct checks {
    const struct config *c; /* borrowed */
    struct finding *list;   /* owned [count] */
    size_t count, capacity;
    enum check_level worst;
};

void checks_release(struct checks *k);
void check_say(struct checks *k, enum check_level level, const char *name,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* checks.c: what does not leave this machine and takes no time. `doctor` does these. */
void check_processor(struct checks *k);
void check_models(struct checks *k);
void check_detector(struct checks *k);
void check_language(struct checks *k);
void check_formats(struct checks *k);
void check_media(struct checks *k);
void check_storage(struct checks *k);
void check_log(struct checks *k);

/* checks_machine.c: more of this machine. */
void check_settings_file(struct checks *k);
void check_sums(struct checks *k);
void check_decoder(struct checks *k);
void check_descriptors(struct checks *k);
void check_memory(struct checks *k);
void check_port(struct checks *k);
void check_callers(struct checks *k);
void check_retention(struct checks *k);

/* checks_servers.c: what others serve. */
void check_database(struct checks *k);
void check_redis(struct checks *k);

/* checks_places.c: where copies go to, and names of other machines. */
void check_copies(struct checks *k);
void check_names(struct checks *k);

/* Really written into `folder`, because neither mode bits nor free blocks tell
 * everything. */
int check_folder(const char *folder, struct err *e);

/* Whether HOST, or a part of it, is this machine's alone. */
bool check_is_loopback(const char *host);

#endif
