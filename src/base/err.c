#include "base/err.h"

#include <errno.h>
#include <stdarg.h>

/* A cut in the middle of a UTF-8 sequence would make the message unfit for JSON. */
static void cut_at_character(char *message, size_t capacity)
{
    size_t length = strlen(message);
    if (length + 1 < capacity)
        return;
    while (length > 0 && ((unsigned char)message[length - 1] & 0xC0) == 0x80)
        length--;
    if (length > 0 && ((unsigned char)message[length - 1] & 0x80))
        length--;
    message[length] = '\0';
}

int err_set(struct err *e, int code, const char *format, ...)
{
    if (!e)
        return code;
    va_list args;
    va_start(args, format);
    e->code = code;
    (void)vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    cut_at_character(e->message, sizeof e->message);
    return code;
}

static int code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *e, const char *format, ...)
{
    int number = errno;
    int code = code_of_errno(number);
    if (!e)
        return code;
    char context[sizeof e->message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    char reason[128];
    return err_set(e, code, "%s: %s", context, strerror_r(number, reason, sizeof reason));
}

int err_prefix(struct err *e, const char *format, ...)
{
    if (!e)
        return ERR_IO;
    char context[sizeof e->message];
    char message[sizeof e->message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    (void)snprintf(message, sizeof message, "%s", e->message);
    return err_set(e, e->code, "%s: %s", context, message);
}

const char *err_name(int code)
{
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_NOMEM:
        return "out_of_memory";
    case ERR_FULL:
        return "disk_full";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_EXISTS:
        return "exists";
    case ERR_STATE:
        return "conflict";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_TOO_LARGE:
        return "too_large";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_NETWORK:
        return "network";
    case ERR_DENIED:
        return "denied";
    case ERR_CRASH:
        return "crashed";
    case ERR_NO_AUDIO:
        return "no_audio";
    case ERR_NOT_MEDIA:
        return "not_media";
    case ERR_QUOTA:
        return "quota_exceeded";
    case ERR_AWAY:
        return "unavailable";
    case ERR_HELD:
        return "on_hold";
    case ERR_UNSURE:
        return "unsure";
    default:
        return "io_error";
    }
}
