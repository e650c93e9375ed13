/* Where settings come from, and which of them wins. */
#include "base/config.h"

#include "base/config_checks.h"
#include "base/config_file.h"
#include "base/config_secret.h"
#include "base/config_table.h"
#include "base/mem.h"
#include "base/near.h"
#include "base/retired.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

#define NAME_BYTES (NEAR_MAX_LENGTH + 8)

/* ---- the command line ------------------------------------------------------------ */

/* What config_take_arguments found: borrowed from argv, which outlives everything.
 * Written before there is a second thread. */
static struct {
    const char *file; /* of --config */
    struct argument {
        char name[NAME_BYTES];
        const char *value;
    } list[CONFIG_MAX_SETTINGS];
    size_t count;
} arguments;

/* NAME_FILE of a setting that may stand in a file of its own: its setting, or NULL. */
static const struct setting *find_file_name(const char *name)
{
    static const char suffix[] = "_FILE";
    size_t length = strlen(name), n = strlen(suffix), index;
    char stem[NAME_BYTES];
    if (length <= n || length >= sizeof stem || strcmp(name + length - n, suffix) != 0)
        return NULL;
    (void)snprintf(stem, sizeof stem, "%.*s", (int)(length - n), name);
    const struct setting *s = config_find(stem, &index);
    return s && setting_is_confidential(s) ? s : NULL;
}

/* "--max-file-size-mb=5" → MAX_FILE_SIZE_MB; false when that is no setting. */
static bool setting_name(const char *option, char name[NAME_BYTES])
{
    size_t length = strcspn(option, "="), index;
    if (length < 3 || length - 2 >= NAME_BYTES)
        return false;
    for (size_t i = 2; i < length; i++) {
        char c = option[i];
        if (isupper((unsigned char)c) || c == '_')
            return false;
        name[i - 2] = c == '-' ? '_' : (char)toupper((unsigned char)c);
    }
    name[length - 2] = '\0';
    return config_find(name, &index) || find_file_name(name);
}

static int remember(const char *name, const char *value, struct err *e)
{
    for (size_t i = 0; i < arguments.count; i++)
        if (!strcmp(arguments.list[i].name, name)) {
            arguments.list[i].value = value; /* the last one wins, as it does elsewhere */
            return 0;
        }
    if (arguments.count == CONFIG_MAX_SETTINGS)
        return err_set(e, ERR_INVALID, "there are too many settings on the command line");
    struct argument *a = &arguments.list[arguments.count++];
    (void)snprintf(a->name, sizeof a->name, "%s", name);
    a->value = value;
    return 0;
}

int config_take_arguments(int *argc, char **argv, struct err *e)
{
    int kept = 1, i = 1;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        char name[NAME_BYTES];
        bool file = !strcmp(argv[i], "--config") || !strncmp(argv[i], "--config=", 9);
        if (strncmp(argv[i], "--", 2) != 0 || !(file || setting_name(argv[i], name))) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *option = argv[i], *equals = strchr(option, '=');
        const char *value = equals ? equals + 1 : i + 1 < *argc ? argv[++i] : NULL;
        if (!value)
            return err_set(e, ERR_INVALID, "%s needs a value", option);
        if (file)
            arguments.file = value;
        else if (remember(name, value, e))
            return ERR_INVALID;
    }
    while (i < *argc)
        argv[kept++] = argv[i++];
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

void config_forget_arguments(void)
{
    arguments.file = NULL;
    arguments.count = 0;
}

/* ---- names ----------------------------------------------------------------------- */

static bool is_known(const char *name)
{
    size_t count, index;
    const struct setting *settings = config_table(&count);
    if (config_find(name, &index) || find_file_name(name))
        return true;
    for (size_t i = 0; i < count; i++)
        if (settings[i].fallback && !strcmp(settings[i].fallback, name))
            return true;
    return false;
}

static int refuse_misspelt(struct err *e)
{
    for (char **entry = environ; entry && *entry; entry++) {
        size_t length = strcspn(*entry, "=");
        if (length >= NEAR_MAX_LENGTH)
            continue;
        char name[NEAR_MAX_LENGTH];
        memcpy(name, *entry, length);
        name[length] = '\0';
        if (is_known(name))
            continue;
        const char *ours = config_misspelt(name, length);
        if (ours)
            return err_set(e, ERR_INVALID,
                           "the variable %s is not a setting; did you mean %s?", name,
                           ours);
    }
    return 0;
}

/* Nearer than anything else, however far that is, is what a person meant most often. */
static const char *nearest(const char *name)
{
    size_t count, best = NEAR_MAX_LENGTH, length = strlen(name);
    const struct setting *settings = config_table(&count);
    const char *found = NULL;
    if (length > NEAR_MAX_LENGTH)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t far =
            near_distance(name, length, settings[i].name, strlen(settings[i].name));
        if (far < best) {
            best = far;
            found = settings[i].name;
        }
    }
    return best <= length / 3 + 1 ? found : NULL;
}

static int refuse_unknown(const struct config_file *file, const char *path, struct err *e)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct config_line *l = &file->lines[i];
        if (is_known(l->name))
            continue;
        const char *ours = nearest(l->name);
        if (ours)
            return err_set(e, ERR_INVALID,
                           "%s: line %d: %s is not a setting; did you mean %s?", path,
                           l->line, l->name, ours);
        return err_set(e, ERR_INVALID,
                       "%s: line %d: %s is not a setting; what other programs read "
                       "belongs into the environment",
                       path, l->line, l->name);
    }
    return 0;
}

/* ---- one setting ----------------------------------------------------------------- */

struct loading {
    struct config *c;
    const struct config *old; /* NULL: the first time */
    struct config_file file;
    struct err *e;
};

/* A level of precedence: what it says of a name; *line is of the file. */
typedef const char *lookup(const struct loading *l, const char *name, int *line);

static const char *from_arguments(const struct loading *l, const char *name, int *line)
{
    (void)l;
    (void)line;
    for (size_t i = 0; i < arguments.count; i++)
        if (!strcmp(arguments.list[i].name, name))
            return arguments.list[i].value;
    return NULL;
}

static const char *from_environment(const struct loading *l, const char *name, int *line)
{
    (void)l;
    (void)line;
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *from_file(const struct loading *l, const char *name, int *line)
{
    const struct config_line *found = config_file_find(&l->file, name);
    if (!found || !*found->value)
        return NULL;
    *line = found->line;
    return found->value;
}

struct found {
    const char *variable, *value;
    bool is_path; /* the value names a file that holds the setting's */
    int line;
};

/* What one level says of a setting; found->value is NULL when it says nothing. */
static int ask(const struct loading *l, const struct setting *s, lookup *get,
               struct found *f)
{
    char path_name[NAME_BYTES];
    *f = (struct found){0};
    const char *first = get(l, s->name, &f->line), *path = NULL;
    const char *second = s->alias ? get(l, s->alias, &f->line) : NULL;
    (void)snprintf(path_name, sizeof path_name, "%s_FILE", s->name);
    if (setting_is_confidential(s))
        path = get(l, path_name, &f->line);
    if (first && second && strcmp(first, second))
        return err_set(l->e, ERR_INVALID,
                       "%s is \"%.60s\" and %s is \"%.60s\", but they are one setting; "
                       "keep one of them",
                       s->name, first, s->alias, second);
    if ((first || second) && path)
        return err_set(l->e, ERR_INVALID,
                       "%s and %s are both set, but they are one setting; keep one of "
                       "them",
                       s->name, path_name);
    f->variable = second && !first ? s->alias : s->name;
    f->value = path ? path : first ? first : second;
    f->is_path = path != NULL;
    return 0;
}

/* A setting of the file that systemd has put into the environment as well is the file's:
 * otherwise a file that is read again could change nothing. */
static int ask_all(const struct loading *l, const struct setting *s, size_t index,
                   struct found *f, enum config_origin *origin)
{
    struct found file;
    bool was_file = l->old && l->old->sources[index].in_file;
    int status = ask(l, s, from_arguments, f);
    *origin = FROM_COMMAND_LINE;
    if (status || f->value)
        return status;
    status = ask(l, s, from_file, &file);
    if (!status && !was_file)
        status = ask(l, s, from_environment, f);
    *origin = FROM_ENVIRONMENT;
    if (status || (f->value && !(file.value && file.is_path == f->is_path &&
                                 !strcmp(file.value, f->value))))
        return status;
    *f = file;
    *origin = FROM_FILE;
    return 0;
}

/* One is enough: it is mended before the next is seen. */
static void warn_about(struct config *c, const char *what, const char *path)
{
    if (!*c->warning)
        (void)snprintf(c->warning, sizeof c->warning, "%.1000s %s", path, what);
}

static int load_secret(struct loading *l, const struct setting *s, const char *path)
{
    char *secret;
    bool others;
    int status = config_secret_read(path, &secret, &others, l->e);
    if (!status && others)
        warn_about(l->c, "holds a secret and everybody may read it: chmod o= it", path);
    if (!status)
        status = config_store(l->c, s, s->name, secret, l->e);
    else
        err_prefix(l->e, "%s", s->name);
    free(secret);
    return status;
}

static int load_fallback(struct loading *l, const struct setting *s, size_t index)
{
    int line = 0;
    struct config_source *source = &l->c->sources[index];
    const char *value = s->fallback ? from_environment(l, s->fallback, &line) : NULL;
    source->origin = value ? FROM_ENVIRONMENT : FROM_DEFAULT;
    if (!value && s->fallback && (value = from_file(l, s->fallback, &line)))
        *source =
            (struct config_source){.origin = FROM_FILE, .line = line, .in_file = true};
    source->variable = value ? s->fallback : NULL;
    return config_store(l->c, s, value ? s->fallback : s->name,
                        value ? value : s->default_value, l->e);
}

/* What stands in the file is judged also where something else wins: a mistake in it is
 * found when it is made, and not when the variable goes away. */
static int judge_line(const struct loading *l, const struct setting *s)
{
    struct config scratch = {0};
    struct found f;
    int status = ask(l, s, from_file, &f);
    if (status || !f.value || f.is_path)
        return status;
    status = config_store(&scratch, s, f.variable, f.value, l->e);
    if (s->type == SETTING_TEXT)
        free(config_text(&scratch, s));
    if (status)
        (void)err_prefix(l->e, "line %d", f.line);
    return status;
}

static int load_setting(struct loading *l, const struct setting *s, size_t index)
{
    struct found f;
    enum config_origin origin;
    char path[PATH_MAX];
    int status = judge_line(l, s);
    if (!status)
        status = ask_all(l, s, index, &f, &origin);
    if (status)
        return status;
    bool credential =
        setting_is_confidential(s) && config_credential(s->name, path, sizeof path);
    if (credential && f.value)
        return err_set(l->e, ERR_INVALID,
                       "%s is set and there is a credential of this name, too; keep one "
                       "of them",
                       s->name);
    if (!f.value && !credential)
        return load_fallback(l, s, index);
    l->c->sources[index] =
        (struct config_source){.variable = credential ? s->name : f.variable,
                               .origin = credential  ? FROM_CREDENTIAL
                                         : f.is_path ? FROM_SECRET_FILE
                                                     : origin,
                               .line = origin == FROM_FILE ? f.line : 0,
                               .in_file = !credential && origin == FROM_FILE};
    if (credential || f.is_path)
        return load_secret(l, s, credential ? path : f.value);
    return config_store(l->c, s, f.variable, f.value, l->e);
}

/* ---- all of them ----------------------------------------------------------------- */

static const char *named_file(void)
{
    if (arguments.file)
        return arguments.file;
    const char *named = getenv("WHISPER_CONFIG_FILE");
    return named && *named ? named : NULL;
}

/* A file with passwords that everybody may read. */
static void judge_file(struct loading *l, const char *path)
{
    size_t index;
    struct stat st;
    if (stat(path, &st) || !(st.st_mode & S_IROTH))
        return;
    for (size_t i = 0; i < l->file.count; i++) {
        const struct setting *s = config_find(l->file.lines[i].name, &index);
        const char *value = l->file.lines[i].value;
        if (s && setting_is_confidential(s) && *value &&
            (!strstr(value, "://") || strchr(value, '@')))
            warn_about(l->c, "holds a secret and everybody may read it: chmod o= it",
                       path);
    }
}

static int read_named(struct loading *l, const char *path)
{
    struct config *c = l->c;
    if (strlen(path) >= sizeof c->file)
        return err_set(l->e, ERR_INVALID, "the settings file's name is too long");
    int status = config_file_read(&l->file, path, l->e);
    if (!status)
        status = refuse_unknown(&l->file, path, l->e);
    if (status)
        return status;
    (void)snprintf(c->file, sizeof c->file, "%s", path);
    judge_file(l, path);
    return 0;
}

static int read_file(struct loading *l)
{
    const char *named = named_file();
    struct config *c = l->c;
    if (named)
        return read_named(l, named);
    if (!access(CONFIG_DEFAULT_FILE, R_OK))
        return read_named(l, CONFIG_DEFAULT_FILE);
    /* Whoever may not read the service's settings may still use the program. */
    if (errno == EACCES)
        (void)snprintf(c->file_problem, sizeof c->file_problem, "you may not read it");
    if (l->old && *l->old->file)
        return err_set(l->e, ERR_NOT_FOUND, "%s is not there any more, or not readable",
                       l->old->file);
    return 0;
}

/* What a command's own option set after loading. */
static int keep_set(struct loading *l)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    int status = 0;
    for (size_t i = 0; l->old && !status && i < count; i++) {
        char value[64];
        if (l->old->sources[i].origin != FROM_COMMAND_LINE)
            continue;
        const char *text = config_text(l->old, &settings[i]);
        if (settings[i].type != SETTING_TEXT) {
            config_value(l->old, &settings[i], false, value, sizeof value);
            text = value;
        }
        status = config_store(l->c, &settings[i], settings[i].name, text, l->e);
        l->c->sources[i] = l->old->sources[i];
    }
    return status;
}

static int load(struct config *c, const struct config *old, struct err *e)
{
    struct loading l = {.c = c, .old = old, .e = e};
    size_t count;
    const struct setting *settings = config_table(&count);
    *c = (struct config){0};
    int status = refuse_misspelt(e);
    if (!status)
        status = read_file(&l);
    for (size_t i = 0; !status && i < count; i++)
        status = load_setting(&l, &settings[i], i);
    if (!status)
        status = keep_set(&l);
    if (!status)
        status = config_contradictions(c, e);
    config_file_release(&l.file);
    if (status)
        config_release(c);
    return status;
}

int config_load(struct config *c, struct err *e)
{
    return load(c, NULL, e);
}

int config_load_again(struct config *c, const struct config *old, struct err *e)
{
    return load(c, old, e);
}

void config_release(struct config *c)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    if (!c)
        return;
    for (size_t i = 0; i < count; i++)
        if (settings[i].type == SETTING_TEXT)
            free(config_text(c, &settings[i]));
    retired_free(c->retired);
    *c = (struct config){0};
}

int config_set(struct config *c, const char *name, const char *value, struct err *e)
{
    size_t index;
    const struct setting *s = config_find(name, &index);
    if (!s) {
        const char *ours = config_misspelt(name, strlen(name));
        return err_set(e, ERR_INVALID, "there is no setting \"%.60s\"%s%s%s", name,
                       ours ? "; did you mean " : "", ours ? ours : "", ours ? "?" : "");
    }
    int status = config_store(c, s, s->name, value, e);
    if (!status)
        c->sources[index] =
            (struct config_source){.variable = s->name, .origin = FROM_COMMAND_LINE};
    return status;
}
