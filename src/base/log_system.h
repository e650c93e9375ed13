/* The logs of the system: syslog's and systemd's. Apart from log.h, because <syslog.h>
 * has names like ours. A priority is one of syslog's: 3 error, 4 warning, 6 information,
 * 7 debug. */
#ifndef BASE_LOG_SYSTEM_H
#define BASE_LOG_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

extern const char *const log_facilities[]; /* as in log.h */

/* `facility` is an index into log_facilities. Returns whether there is a daemon. */
bool log_syslog_open(int facility);
void log_syslog_write(int priority, const char *text);

/* One datagram of fields; false when the journal does not take it. Call with the log's
 * lock held. */
bool log_journal_write(const char *fields, size_t length);

#endif
