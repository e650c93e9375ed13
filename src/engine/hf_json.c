#include "engine/hf_json.h"

#include "base/mem.h"
#include "engine/model_source.h"

#include <unistd.h>

int hf_path(char **out, const char *folder, const char *name, struct err *e)
{
    size_t length = strlen(folder) + 1 + strlen(name) + 1;
    *out = mem_array(length, 1);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    (void)snprintf(*out, length, "%s/%s", folder, name);
    return 0;
}

bool hf_exists(const char *folder, const char *name)
{
    char *path;
    if (hf_path(&path, folder, name, NULL))
        return false;
    bool exists = access(path, F_OK) == 0;
    free(path);
    return exists;
}

int hf_parse(json_t **out, const void *text, size_t length, const char *what,
             struct err *e)
{
    json_error_t why;
    char reason[HF_SHOWN_SIZE];
    /* An empty buffer may be NULL, which jansson refuses in its own way. */
    *out = json_loadb(length ? text : "", length, JSON_REJECT_DUPLICATES, &why);
    if (!*out)
        return err_set(e, ERR_CORRUPT, "%s is not valid JSON: %s (byte %d)", what,
                       hf_shown(why.text, reason), why.position);
    if (json_is_object(*out))
        return 0;
    json_decref(*out);
    *out = NULL;
    return err_set(e, ERR_CORRUPT, "%s is not a JSON object", what);
}

int hf_read_json(json_t **out, const char *folder, const char *name, size_t maximum,
                 struct err *e)
{
    char *path;
    struct mapped_file file = {0};
    int status = hf_path(&path, folder, name, e);
    if (status)
        return status;
    status = mapped_file_open(&file, path, e);
    if (!status && file.length > maximum)
        status = err_set(e, ERR_TOO_LARGE, "%s has %zu bytes; at most %zu are plausible",
                         path, file.length, maximum);
    if (!status)
        status = hf_parse(out, file.bytes, file.length, path, e);
    mapped_file_close(&file);
    free(path);
    return status;
}

const char *hf_shown(const char *text, char out[HF_SHOWN_SIZE])
{
    size_t n = 0;
    for (; text && text[n] && n + 1 < HF_SHOWN_SIZE; n++)
        out[n] = text[n] >= ' ' && text[n] < 0x7F ? text[n] : '?';
    out[n] = '\0';
    return out;
}
