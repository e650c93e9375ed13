/* Values of settings: an input is lines of "NAME value", as the command line gives them.
 *
 * A setting that was refused is as it was, and what is printed of all of them shows no
 * password. */
#include "fuzz.h"

#include "base/config.h"

#define SECRET "hunter2hunter2"

static char *print(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    HOLDS(out);
    config_print(c, out);
    HOLDS(!fclose(out) && text);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct err e = {0};
    char *text = fuzz_text(data, size), *rest = text;
    (void)clearenv(); /* the defaults alone; a long one takes long to be looked through */
    HOLDS(!config_load(&c, NULL));
    HOLDS(!config_set(&c, "DATABASE_URL", "postgresql://a:" SECRET "@b/c", NULL));
    HOLDS(!config_set(&c, "WEBHOOK_SECRET", SECRET, NULL));
    char *shown = print(&c);
    HOLDS(!strstr(shown, SECRET));
    for (int i = 0; i < 8 && *rest; i++) {
        char *name = fuzz_line(&rest), *value = strchr(name, ' ');
        if (value)
            *value++ = '\0';
        struct config before = c;
        int status = config_set(&c, name, value ? value : "", &e);
        HOLDS(!status || (e.message[0] && !memcmp(&before, &c, sizeof c)));
    }
    free(shown);
    shown = print(&c);
    free(shown);
    config_release(&c);
    free(text);
    return 0;
}
