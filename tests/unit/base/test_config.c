#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/config.h"

/* Each test sees only the variables that it sets. */
static int empty_environment(void **state)
{
    (void)state;
    return clearenv();
}

static void refused(const char *name, const char *value, const char *said)
{
    struct config c;
    struct err e = {0};
    clearenv();
    setenv(name, value, 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    if (!strstr(e.message, said))
        fail_msg("\"%s\" does not say \"%s\"", e.message, said);
    assert_non_null(strstr(e.message, name));
    clearenv();
}

static void defaults_are_those_of_the_documents(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(config_load(&c, NULL), 0);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 8000);
    assert_string_equal(c.database_url, "sqlite:///data/app.db");
    assert_null(c.redis_url);
    assert_string_equal(c.model_dir, "models");
    assert_null(c.default_model);
    assert_string_equal(c.language, "auto");
    assert_int_equal(c.time_limit_seconds, 7200);
    assert_int_equal(c.max_file_size_mb, 500);
    assert_int_equal(c.max_audio_seconds, 28800);
    assert_string_equal(c.storage_dir, "storage");
    assert_int_equal(c.log_level, LOG_INFO);
    assert_false(c.log_json);
    assert_true(c.log_to_stdout);
    assert_null(c.log_file);
    assert_int_equal(c.upload_retention_days, 7);
    assert_int_equal(c.transcript_retention_days, 30);
    assert_string_equal(c.rate_limit, "10/minute");
    assert_int_equal(c.auth, AUTH_AUTO);
    assert_string_equal(c.compute_type, "auto");
    config_release(&c);
}

static void the_environment_wins_over_defaults(void **state)
{
    (void)state;
    setenv("PORT", "0", 1);
    setenv("LOG_LEVEL", "warn", 1);
    setenv("LOG_FORMAT", "JSON", 1);
    setenv("LOG_TO_STDOUT", "off", 1);
    setenv("DEBUG", "Yes", 1);
    setenv("AUTH", "proxy", 1);
    setenv("WHISPER_TIMEOUT_SECONDS", "60", 1);
    setenv("HOST", "", 1);
    struct config c;
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(c.port, 0);
    assert_int_equal(c.log_level, LOG_WARNING);
    assert_true(c.log_json);
    assert_false(c.log_to_stdout);
    assert_true(c.debug);
    assert_int_equal(c.auth, AUTH_PROXY);
    assert_int_equal(c.time_limit_seconds, 60);
    assert_string_equal(c.host, "127.0.0.1"); /* empty counts as unset */
    config_release(&c);
}

static void what_is_not_allowed_is_named(void **state)
{
    (void)state;
    refused("PORT", "65536",
            "PORT is \"65536\"; it must be a whole number from 0 to 65535");
    refused("PORT", "80a", "whole number");
    refused("PORT", "-1", "whole number");
    refused("PORT", " 80", "whole number");
    refused("MAX_FILE_SIZE_MB", "0", "from 1 to");
    refused("MAX_FILE_SIZE_MB", "99999999999999999999", "from 1 to");
    refused("DEBUG", "maybe", "true or false");
    refused("LOG_LEVEL", "LOUD", "one of: DEBUG, INFO, WARNING, ERROR");
    refused("LOG_FORMAT", "true", "one of: text, json");
    refused("AUTH", "none", "one of: auto, off, key, proxy");
    refused("AUTH_PROXY_HEADER", "X-Remote User", "the name of a header");
    refused("AUTH_PROXY_SCOPES_HEADER", "X_Groups", "the name of a header");
    refused("DATABASE_URL", "mysql://x", "sqlite:///PATH or postgresql://");
    refused("REDIS_URL", "localhost:6379", "redis://");
    refused("WHISPER_MODEL_URL", "file:///etc/passwd", "http");
    refused("DEFAULT_WHISPER_MODEL", "../../etc/passwd", "a model's name");
    refused("RATE_LIMIT", "10/fortnight", "N/minute");
    refused("ALLOWED_AUDIO_FORMATS", "mp3,exe", "formats from this list");
    refused("ALLOWED_AUDIO_FORMATS", " , ", "formats from this list");
    refused("COMPUTE_TYPE", "f13", "auto or f32");
}

static void formats_may_be_written_in_several_ways(void **state)
{
    (void)state;
    setenv("ALLOWED_AUDIO_FORMATS", ".mp3, WAV,,flac ,", 1);
    struct config c;
    assert_int_equal(config_load(&c, NULL), 0);
    config_release(&c);
}

static void a_misspelt_name_is_an_error(void **state)
{
    (void)state;
    refused("WHISPER_MODEL_DRI", "x", "did you mean WHISPER_MODEL_DIR?");
    refused("WHISPER_MODELS_DIR", "x", "did you mean WHISPER_MODEL_DIR?");
    refused("CELERY_CONCURENCY", "2", "did you mean CELERY_CONCURRENCY?");
    refused("LOGLEVEL", "INFO", "did you mean LOG_LEVEL?");
    refused("log_level", "INFO", "did you mean LOG_LEVEL?");
}

static void names_of_other_programs_are_none_of_ours(void **state)
{
    (void)state;
    static const char *const others[] = {"PATH",      "HOSTNAME",  "LOGNAME", "PORTS",
                                         "AUTHOR",    "DEBUGGER",  "TMPDIR",  "LANG",
                                         "WHISPER_X", "REDIS_PORT"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        setenv(others[i], "x", 1);
    struct config c;
    struct err e = {0};
    if (config_load(&c, &e))
        fail_msg("%s", e.message);
    config_release(&c);
}

static void an_alias_must_agree(void **state)
{
    (void)state;
    setenv("CELERY_CONCURRENCY", "3", 1);
    setenv("WORKER_CONCURRENCY", "3", 1);
    struct config c;
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(c.worker_concurrency, 3);
    config_release(&c);
    setenv("WORKER_CONCURRENCY", "4", 1);
    struct err e = {0};
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "WORKER_CONCURRENCY"));
    assert_non_null(strstr(e.message, "CELERY_CONCURRENCY"));
}

static void the_command_line_wins(void **state)
{
    (void)state;
    setenv("PORT", "9000", 1);
    struct config c;
    struct err e = {0};
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(config_set(&c, "PORT", "9001", &e), 0);
    assert_int_equal(c.port, 9001);
    assert_int_equal(config_set(&c, "PORT", "x", &e), ERR_INVALID);
    assert_int_equal(c.port, 9001);
    assert_int_equal(config_set(&c, "CELERY_CONCURRENCY", "2", &e), 0);
    assert_int_equal(c.worker_concurrency, 2);
    assert_int_equal(config_set(&c, "STORAGE_DIRS", "x", &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "did you mean STORAGE_DIR?"));
    config_release(&c);
}

static char *printed(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_print(c, out);
    fclose(out);
    return text;
}

static void doctor_sees_sources_but_no_passwords(void **state)
{
    (void)state;
    setenv("DATABASE_URL", "postgresql://anna:s3cret@db/app", 1);
    setenv("CELERY_CONCURRENCY", "3", 1);
    struct config c;
    assert_int_equal(config_load(&c, NULL), 0);
    assert_int_equal(config_set(&c, "PORT", "9001", NULL), 0);
    char *text = printed(&c);
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "DATABASE_URL = postgresql://anna:***@db/app\n"
                                 "    environment variable DATABASE_URL;"));
    assert_non_null(strstr(text, "WORKER_CONCURRENCY = 3\n"
                                 "    environment variable CELERY_CONCURRENCY;"));
    assert_non_null(strstr(text, "PORT = 9001\n    command line;"));
    assert_non_null(strstr(text, "HOST = 127.0.0.1\n    default;"));
    assert_non_null(strstr(text, "REDIS_URL = (unset)\n"));
    free(text);
    config_release(&c);
}

static void a_refused_address_keeps_its_password(void **state)
{
    (void)state;
    struct config c;
    struct err e = {0};
    setenv("DATABASE_URL", "postgres:/user:secret@host/base", 1);
    assert_int_equal(config_load(&c, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "DATABASE_URL"));
    assert_null(strstr(e.message, "secret"));
}

static void rates_are_counts_per_time(void **state)
{
    (void)state;
    int64_t count, seconds;
    assert_true(config_rate_parse("10/minute", &count, &seconds));
    assert_int_equal(count, 10);
    assert_int_equal(seconds, 60);
    assert_true(config_rate_parse("1/Hour", &count, &seconds));
    assert_int_equal(seconds, 3600);
    assert_true(config_rate_parse("off", &count, &seconds));
    assert_int_equal(count, 0);
    static const char *const bad[] = {
        "",           "10",       "0/minute",           "-1/minute",
        "10/minutes", "x/minute", "99999999999/second", "10 /minute"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(config_rate_parse(bad[i], &count, &seconds));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_those_of_the_documents, empty_environment),
        cmocka_unit_test_setup(the_environment_wins_over_defaults, empty_environment),
        cmocka_unit_test_setup(what_is_not_allowed_is_named, empty_environment),
        cmocka_unit_test_setup(formats_may_be_written_in_several_ways, empty_environment),
        cmocka_unit_test_setup(a_misspelt_name_is_an_error, empty_environment),
        cmocka_unit_test_setup(names_of_other_programs_are_none_of_ours,
                               empty_environment),
        cmocka_unit_test_setup(an_alias_must_agree, empty_environment),
        cmocka_unit_test_setup(the_command_line_wins, empty_environment),
        cmocka_unit_test_setup(doctor_sees_sources_but_no_passwords, empty_environment),
        cmocka_unit_test_setup(a_refused_address_keeps_its_password, empty_environment),
        cmocka_unit_test_setup(rates_are_counts_per_time, empty_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
