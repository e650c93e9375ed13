/* What the process that manages services is told, and what it hands over.
 *
 * systemd's side of the talk is documented in sd_notify(3) and sd_listen_fds(3):
 * datagrams of a few words to a socket whose name is in the environment, and sockets that
 * are open before we begin. Without a manager all of this does nothing. */
#ifndef BASE_SERVICE_MANAGER_H
#define BASE_SERVICE_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

/* Take what the environment says, and take it out of there, so that no child speaks for
 * us. Call once, while there is one thread. */
void service_manager_open(void);

/* Whether there is one that wants to be told. */
bool service_manager_listens(void);

/* From now on the service does what it is for; also the end of a reload. */
void service_manager_ready(void);
/* The settings are being read again; service_manager_ready ends it. */
void service_manager_reloading(void);
/* It stops, in good order, and this may take so long. */
void service_manager_stopping(int64_t seconds);
/* A line for people: what it is doing. */
void service_manager_status(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* How often it wants to hear that we live, in nanoseconds; 0: it does not. */
int64_t service_manager_watchdog_ns(void);
/* Say so. Only who has looked may say it. */
void service_manager_watchdog(void);

/* The listening socket that it holds for us: "http", which is also the first one without
 * a name that we know, or "wyoming". -1: none. It stays open with the manager, and must
 * neither be shut down nor filtered: whoever comes while we are away waits in it. */
int service_manager_socket(const char *name);

/* Whether what is written to this descriptor ends in the manager's journal. */
bool service_manager_journals(int fd);

#endif
