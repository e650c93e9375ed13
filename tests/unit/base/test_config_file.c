/* The settings file: what is read as systemd reads it, what is refused; where settings
 * come from; what contradicts; what may change while the program runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/config_file.h"
#include "base/config_live.h"
#include "base/fs.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/wt-config-XXXXXX";

static int clean(void **state)
{
    (void)state;
    config_forget_arguments();
    return clearenv();
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"c.conf", "secret", "DATABASE_URL"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[100];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

static char *put(const char *name, const char *text)
{
    static char paths[4][100];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), NULL), 0);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

/* ---- the form -------------------------------------------------------------------- */

static void reads(const char *text, const char *name, const char *value)
{
    struct config_file f;
    struct err e = {0};
    if (config_file_parse(&f, text, strlen(text), &e))
        fail_msg("%s: %s", text, e.message);
    const struct config_line *l = config_file_find(&f, name);
    assert_non_null(l);
    assert_string_equal(l->value, value);
    config_file_release(&f);
}

static void lines_are_read_as_systemd_reads_them(void **state)
{
    (void)state;
    reads("A=1", "A", "1");
    reads("\n\n  # c\n; c\n A = x y \t\nB=2\n", "A", "x y");
    reads("A=x\r\nB=y\r\n", "A", "x");
    reads("A=", "A", "");
    reads("A=   \n", "A", "");
    reads("A='x # \\ \" y'", "A", "x # \\ \" y");
    reads("A=\"x \\\" \\\\ \\$ \\` 'y'\"  ", "A", "x \" \\ $ ` 'y'");
    reads("A=x\\\ny", "A", "xy");
    reads("A=x \\\n  y  \nB=", "A", "x   y");
    reads("A=a#b;c=d", "A", "a#b;c=d");
    reads("A=#x", "A", "#x");
    reads("A=\xC3\xA4", "A", "\xC3\xA4");
}

static void refuses(const char *text, const char *said)
{
    struct config_file f;
    struct err e = {0};
    assert_int_equal(config_file_parse(&f, text, strlen(text), &e), ERR_INVALID);
    if (!strstr(e.message, said))
        fail_msg("\"%s\" does not say \"%s\"", e.message, said);
    assert_null(f.lines);
}

static void what_could_be_read_differently_is_refused(void **state)
{
    (void)state;
    refuses("A=1\nPORT 80\n", "line 2: this is not NAME=value");
    refuses("export A=1", "without `export`");
    refuses("A=1 # one", "a comment needs a line of its own");
    refuses("A=it's", "a quote in the middle");
    refuses("A='x", "the quote ' is not closed");
    refuses("A=\"x\ny\"", "the quote \" is not closed");
    refuses("A='x'y", "behind the closing quote");
    refuses("A=\"\\n\"", "in double quotes");
    refuses("A=C:\\x", "a \\ may only end a line");
    refuses("A=x\\", "a \\ may only end a line");
    refuses("A=x\\\r\ny", "a \\ may only end a line");
    refuses("# x \\\nA=1", "a comment must not end with a \\");
    refuses("A=1\nB=2\nA=3", "A stands in line 1 and in line 3: keep one");
    refuses("A=\xFF", "not UTF-8");
    refuses("A=\xC0\x80", "not UTF-8");
    refuses("A=\x01", "control character");
    refuses("A=x\ry", "carriage return");
    refuses("=x", "not NAME=value");
    refuses("A-B=x", "not NAME=value");
}

/* ---- the order ------------------------------------------------------------------- */

static void each_place_wins_over_the_next(void **state)
{
    (void)state;
    struct config c;
    char *file = put("c.conf", "PORT=1\nHOST=file\nWHISPER_TIMEOUT_SECONDS=9\n");
    const char *const words[] = {"serve", "--config", file,     "--port=3",
                                 "-q",    "--",       "--host", "x"};
    char *argv[9] = {NULL};
    for (size_t i = 0; i < 8; i++)
        argv[i] = strdup(words[i]);
    char *all[9];
    memcpy(all, argv, sizeof all);
    int argc = 8;
    setenv("PORT", "2", 1);
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(c.port, 2);
    assert_string_equal(c.host, "127.0.0.1");
    config_release(&c);
    assert_int_equal(config_take_arguments(&argc, argv, NULL), 0);
    assert_int_equal(argc, 5); /* what is not a setting, and all behind -- */
    assert_string_equal(argv[1], "-q");
    assert_string_equal(argv[4], "x");
    assert_null(argv[5]);
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(c.port, 3);
    assert_string_equal(c.host, "file");
    assert_int_equal(c.time_limit_seconds, 9);
    assert_string_equal(c.file, file);
    config_release(&c);
    for (size_t i = 0; i < 8; i++)
        free(all[i]);
}

static void an_unknown_name_in_the_file_is_refused(void **state)
{
    (void)state;
    struct config c;
    struct err e = {0};
    setenv("WHISPER_CONFIG_FILE", put("c.conf", "\nMAXIMUM_FILE_SIZE_MB=5\n"), 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message,
                           "line 2: MAXIMUM_FILE_SIZE_MB is not a setting; did "
                           "you mean MAX_FILE_SIZE_MB?"));
    setenv("PORT", "1", 1); /* it wins, and yet */
    setenv("WHISPER_CONFIG_FILE", put("c.conf", "\n\nPORT=x\n"), 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "line 3: PORT is \"x\""));
    unsetenv("PORT");
    setenv("WHISPER_CONFIG_FILE", put("c.conf", "https_proxy=x\n"), 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "belongs into the environment"));
    setenv("WHISPER_CONFIG_FILE", "/nowhere/c.conf", 1);
    assert_int_equal(config_load(&c, &e), ERR_NOT_FOUND);
}

/* ---- secrets --------------------------------------------------------------------- */

static void a_secret_may_stand_in_a_file_of_its_own(void **state)
{
    (void)state;
    struct config c;
    struct err e = {0};
    char *path = put("secret", "postgresql://a:hunter2@h/d\r\n");
    setenv("DATABASE_URL_FILE", path, 1);
    assert_int_equal(config_load(&c, &e), 0);
    assert_string_equal(c.database_url, "postgresql://a:hunter2@h/d");
    assert_string_equal(c.warning, "");
    config_release(&c);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(config_load(&c, &e), 0);
    assert_non_null(strstr(c.warning, "everybody may read it"));
    config_release(&c);
    setenv("DATABASE_URL", "sqlite:///x", 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "DATABASE_URL and DATABASE_URL_FILE are both set"));
    unsetenv("DATABASE_URL");
    put("secret", "two\nlines");
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "must hold one line"));
    put("secret", "\n");
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "is empty"));
    put("secret", "mysql://a:hunter2@h/d");
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_null(strstr(e.message, "hunter2"));
}

static void a_credential_of_systemd_is_one_too(void **state)
{
    (void)state;
    struct config c;
    struct err e = {0};
    put("DATABASE_URL", "postgresql://a:hunter2@h/d");
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_int_equal(config_load(&c, &e), 0);
    assert_string_equal(c.database_url, "postgresql://a:hunter2@h/d");
    config_release(&c);
    setenv("DATABASE_URL", "sqlite:///x", 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "there is a credential of this name"));
    char path[100];
    snprintf(path, sizeof path, "%s/DATABASE_URL", folder);
    assert_int_equal(unlink(path), 0);
}

/* ---- contradictions -------------------------------------------------------------- */

static void contradicts(const char *text, const char *said)
{
    struct config c;
    struct err e = {0};
    setenv("WHISPER_CONFIG_FILE", put("c.conf", text), 1);
    if (!config_load(&c, &e)) {
        config_release(&c);
        fail_msg("not refused: %s", text);
    }
    if (!strstr(e.message, said))
        fail_msg("\"%s\" does not say \"%s\"", e.message, said);
}

static void agrees(const char *text)
{
    struct config c;
    struct err e = {0};
    setenv("WHISPER_CONFIG_FILE", put("c.conf", text), 1);
    if (config_load(&c, &e))
        fail_msg("%s: %s", text, e.message);
    config_release(&c);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    contradicts("PORT=9000\nWYOMING_PORT=9000", "give one of them another number");
    agrees("PORT=9000\nWYOMING_PORT=9000\nWYOMING_HOST=127.0.0.2");
    contradicts("WYOMING_HOST=127.0.0.1", "set WYOMING_PORT");
    contradicts("AUTH_PROXY_SCOPES_HEADER=X-Scopes", "only with AUTH=proxy");
    agrees("AUTH_PROXY_HEADER=X-Remote-User\nS3_REGION=us-east-1"); /* the defaults */
    contradicts("AUTH=key\nAUTH_PROXY_HEADER=X-User", "only with AUTH=proxy");
    agrees("AUTH=proxy\nAUTH_PROXY_HEADER=X-User");
    contradicts("MAX_CONNECTIONS=16\nMAX_CONNECTIONS_PER_CLIENT=17", "lower the first");
    agrees("MAX_CONNECTIONS=16");
    contradicts("EMBEDDED_WORKERS=off", "set DATABASE_URL=postgresql://");
    agrees("EMBEDDED_WORKERS=off\nDATABASE_URL=postgresql://h/d");
    contradicts("REDIS_CA_FILE=/x", "rediss://");
    contradicts("REDIS_CA_FILE=/x\nREDIS_URL=redis://h", "rediss://");
    agrees("REDIS_CA_FILE=/x\nREDIS_URL=rediss://h");
    contradicts("S3_ENDPOINT=http://h:1", "set STORAGE_URL=s3://BUCKET");
    contradicts("STORAGE_URL=s3://b\nS3_ACCESS_KEY_ID=k", "without S3_SECRET_ACCESS_KEY");
    agrees("STORAGE_URL=s3://b\nS3_ACCESS_KEY_ID=k\nS3_SECRET_ACCESS_KEY=12345678");
    contradicts("UPLOAD_RETENTION_DAYS=31\nTRANSCRIPT_RETENTION_DAYS=30",
                "a recording goes with its transcript");
    contradicts("UPLOAD_RETENTION_DAYS=0\nTRANSCRIPT_RETENTION_DAYS=30", "for ever");
    agrees("UPLOAD_RETENTION_DAYS=31"); /* the other is a default */
    agrees("UPLOAD_RETENTION_DAYS=31\nTRANSCRIPT_RETENTION_DAYS=0");
    contradicts("BACKUP_DIR=storage/copies", "lies in the storage");
    contradicts("BACKUP_DIR=./x/../storage/", "lies in the storage");
    contradicts("BACKUP_DIR=/a\nSTORAGE_DIR=/a//b/", "lies in BACKUP_DIR");
    contradicts("BACKUP_DIR=/s/c\nSTORAGE_URL=file:///s", "lies in the storage");
    agrees("BACKUP_DIR=storage-copies");
    agrees("S3_ENDPOINT=http://h:1\nBACKUP_DIR=s3://copies");
    contradicts("DISK_LOW_PERCENT=5\nDISK_STOP_PERCENT=6", "lower DISK_STOP_PERCENT");
    agrees("DISK_LOW_PERCENT=5\nDISK_STOP_PERCENT=5");
    agrees("DISK_STOP_PERCENT=20");              /* the other is a default */
    setenv("AWS_ENDPOINT_URL", "http://h:1", 1); /* for other programs */
    agrees("PORT=1");
}

/* ---- while it runs --------------------------------------------------------------- */

struct told {
    int live, waiting;
    char all[1000];
};

static void tell(void *context, const struct config_difference *d)
{
    struct told *t = context;
    size_t n = strlen(t->all);
    t->live += d->live;
    t->waiting += !d->live;
    snprintf(t->all + n, sizeof t->all - n, "%s:%s>%s;", d->name, d->before, d->after);
}

static void a_file_that_is_read_again_changes_what_can_be(void **state)
{
    (void)state;
    struct config c, next;
    struct told t = {0};
    setenv("WHISPER_CONFIG_FILE",
           put("c.conf", "PORT=1\nMAX_FILE_SIZE_MB=5\nRATE_LIMIT=1/day\n"
                         "WEBHOOK_SECRET=hunter2hunter2\nLOG_LEVEL=DEBUG\n"),
           1);
    /* As systemd does, which reads the same file. */
    setenv("MAX_FILE_SIZE_MB", "5", 1);
    setenv("LOG_LEVEL", "ERROR", 1); /* somebody's own, and wins */
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(c.max_file_size_mb, 5);
    const char *rate = c.rate_limit;
    put("c.conf", "PORT=2\nMAX_FILE_SIZE_MB=6\nWEBHOOK_SECRET=hunter3hunter3\n"
                  "LOG_LEVEL=INFO\n");
    assert_int_equal(config_load_again(&next, &c, NULL), 0);
    assert_int_equal(config_differences(&c, &next, tell, &t), 4);
    assert_int_equal(t.waiting, 1);
    assert_non_null(strstr(t.all, "PORT:1>2;"));
    assert_non_null(strstr(t.all, "MAX_FILE_SIZE_MB:5>6;"));
    assert_non_null(strstr(t.all, "RATE_LIMIT:1/day>10/minute;"));
    assert_non_null(strstr(t.all, "WEBHOOK_SECRET:(set)>(changed);"));
    config_adopt(&c, &next);
    assert_int_equal(c.port, 1);
    assert_int_equal(c.max_file_size_mb, 6);
    assert_int_equal(c.log_level, LOG_ERROR);
    assert_string_equal(c.rate_limit, "10/minute");
    assert_string_equal(rate, "1/day"); /* for whoever still looks at it */
    put("c.conf", "PORT=x\n");
    assert_int_equal(config_load_again(&next, &c, NULL), ERR_INVALID);
    config_release(&c);
}

static void what_a_command_set_stays(void **state)
{
    (void)state;
    struct config c, next;
    setenv("WHISPER_CONFIG_FILE", put("c.conf", "DEFAULT_WHISPER_MODEL=base\n"), 1);
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(config_set(&c, "DEFAULT_WHISPER_MODEL", "tiny", NULL), 0);
    assert_int_equal(config_load_again(&next, &c, NULL), 0);
    assert_string_equal(next.default_model, "tiny");
    config_release(&next);
    config_release(&c);
}

static void live_settings_exist(void **state)
{
    (void)state;
    const char *help, *name;
    size_t live = 0;
    for (size_t i = 0; (name = config_name(i, &help)); i++)
        live += config_is_live(name);
    assert_int_equal(live, CONFIG_LIVE_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_are_read_as_systemd_reads_them, clean),
        cmocka_unit_test_setup(what_could_be_read_differently_is_refused, clean),
        cmocka_unit_test_setup(each_place_wins_over_the_next, clean),
        cmocka_unit_test_setup(an_unknown_name_in_the_file_is_refused, clean),
        cmocka_unit_test_setup(a_secret_may_stand_in_a_file_of_its_own, clean),
        cmocka_unit_test_setup(a_credential_of_systemd_is_one_too, clean),
        cmocka_unit_test_setup(contradictions_are_refused, clean),
        cmocka_unit_test_setup(a_file_that_is_read_again_changes_what_can_be, clean),
        cmocka_unit_test_setup(what_a_command_set_stays, clean),
        cmocka_unit_test_setup(live_settings_exist, clean),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
