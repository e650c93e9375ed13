/* Errors: a negative code for programs, one sentence for people.
 *
 * A function that can fail returns 0 or a negative `enum err_code`. Where a person will
 * read the reason, it also takes a `struct err *` as its last argument and fills it; the
 * sentence says what is wrong and what to do. `struct err *` may always be NULL. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_code {
    ERR_NONE = 0,
    ERR_NOMEM = -1,       /* memory could not be had */
    ERR_IO = -2,          /* a system call failed */
    ERR_FULL = -3,        /* no space left: disk or quota */
    ERR_INVALID = -4,     /* the caller's value is wrong */
    ERR_NOT_FOUND = -5,   /* the thing named is not there */
    ERR_EXISTS = -6,      /* the thing named is there already */
    ERR_STATE = -7,       /* not now: wrong state, lost lease */
    ERR_CORRUPT = -8,     /* stored or received data is damaged */
    ERR_UNSUPPORTED = -9, /* valid, but not something we do */
    ERR_TOO_LARGE = -10,  /* beyond a limit that was set */
    ERR_TIMEOUT = -11,    /* took longer than allowed */
    ERR_CANCELLED = -12,  /* stopped because somebody asked */
    ERR_NETWORK = -13,    /* a peer could not be reached or broke off */
    ERR_DENIED = -14,     /* not permitted */
    ERR_CRASH = -15,      /* a child process died */
    ERR_NO_AUDIO = -16,   /* media was read, but there is no audio in it */
    ERR_NOT_MEDIA = -17,  /* the bytes are not media that we can read */
    ERR_QUOTA = -18,      /* what somebody may use is used up */
    ERR_AWAY = -19,       /* what we depend on cannot be reached now; nothing was done */
    ERR_UNSURE = -20,     /* it broke off so that nobody can say whether it was done */
    ERR_HELD = -21,       /* an operator keeps it: it must not be removed */
};

struct err {
    int code;          /* an enum err_code */
    char message[500]; /* UTF-8, one sentence, NUL-terminated */
};

/* Fill `e` (may be NULL) and return `code`, so that `return err_set(e, …)` reads well.
 * A message that is too long is cut at a character boundary. */
int err_set(struct err *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": <strerror(errno)>" appended; ENOSPC and EDQUOT give ERR_FULL, ENOENT
 * ERR_NOT_FOUND, EACCES and EPERM ERR_DENIED, ENOMEM ERR_NOMEM, all others ERR_IO. */
int err_errno(struct err *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Put a phrase in front of the message that is there: "context: message". Returns the
 * code that is there. */
int err_prefix(struct err *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The stable name of a code for machines: "invalid", "not_found", … */
const char *err_name(int code);

#endif
