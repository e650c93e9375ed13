/* Every route as a line of JSON: so that tests and documentation are held against the
 * table itself. */
#include "command/command.h"

#include "base/json_text.h"

#include "api/access.h"
#include "api/api.h"
#include "command/cli.h"

#include <jansson.h>

static const char *access_name(int access)
{
    static const char *const names[] = {[API_PUBLIC] = "public",
                                        [API_CALLER] = "caller",
                                        [API_READ] = "read",
                                        [API_TRANSCRIBE] = "transcribe",
                                        [API_ADMIN] = "admin"};
    return access >= API_PUBLIC && access <= API_ADMIN ? names[access] : "";
}

int command_routes(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        cli_error("`routes` takes no arguments");
        return EXIT_USAGE;
    }
    size_t count;
    const struct http_route *routes = api_routes(&count);
    for (size_t i = 0; i < count; i++) {
        const struct http_route *r = &routes[i];
        json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:s}", "method", r->method, "path",
                              r->pattern, "access", access_name(r->access), "limited",
                              (int)r->limited, "kind",
                              r->ws     ? "websocket"
                              : r->form ? "form"
                              : r->body ? "body"
                                        : "plain");
        char *text = json_text(o, JSON_COMPACT);
        puts(text ? text : "");
        free(text);
        json_decref(o);
    }
    return cli_finish_output();
}
