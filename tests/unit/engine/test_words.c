/* Tokens to words. Tokens are written with | between them and words are expected the same
 * way, so that a case reads as what it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "engine/words.h"

static size_t cut(const char *tokens, struct word_piece *pieces)
{
    size_t n = 0;
    for (const char *at = tokens; *at; n++) {
        size_t length = strcspn(at, "|");
        pieces[n] = (struct word_piece){at, length};
        at += length + (at[length] == '|');
    }
    return n;
}

static void join(struct buf *out, const struct word_piece *pieces, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        buf_add(out, pieces[i].bytes, pieces[i].length);
}

/* What is spoken of each word, where that is not all, follows in <>. */
static void splits_with(const char *language, const char *tokens, const char *prepend,
                        const char *append, const char *expected)
{
    struct word_piece pieces[64] = {{0}};
    struct words w = {0};
    struct buf got;
    size_t n = cut(tokens, pieces);
    buf_init(&got, 10000);
    assert_int_equal(words_split(&w, pieces, n, 100, whisper_language_find(language),
                                 prepend, append, NULL),
                     0);
    for (size_t i = 0; i < w.n_spans; i++) {
        struct word_span s = w.spans[i];
        assert_int_equal(s.from, i ? w.spans[i - 1].to : 100);
        assert_true(s.from <= s.core_from && s.core_from <= s.core_to);
        assert_true(s.core_to <= s.to && s.from < s.to);
        if (i)
            buf_char(&got, '|');
        join(&got, pieces, s.from - 100, s.to - 100);
        if (s.core_from == s.from && s.core_to == s.to)
            continue;
        buf_char(&got, '<');
        join(&got, pieces, s.core_from - 100, s.core_to - 100);
        buf_char(&got, '>');
    }
    if (n)
        assert_int_equal(w.spans[w.n_spans - 1].to, 100 + n);
    assert_string_equal(buf_cstr(&got), expected);
    buf_release(&got);
    words_release(&w);
}

static void splits(const char *language, const char *tokens, const char *expected)
{
    splits_with(language, tokens, NULL, NULL, expected);
}

static void spaces_part_words(void **state)
{
    (void)state;
    splits("en", "", "");
    splits("en", " He| hoped", " He| hoped");
    splits("en", " tur|nips| and| car|rots", " turnips| and| carrots");
    splits("en", "He| hoped", "He| hoped");
    splits("de", " Donau|dampf|schiff|fahrt| ist| schön",
           " Donaudampfschifffahrt| ist| schön");
    splits("ru", " При|вет|,| мир|!", " Привет,< Привет>| мир!< мир>");
    splits("ko", " 안|녕|하세요| 여러|분|.", " 안녕하세요| 여러분.< 여러분>");
    splits("hi", " नमस्|ते| दुनिया|।", " नमस्ते| दुनिया।< दुनिया>");
    splits("ar", " مرحبا| بال|عالم|؟", " مرحبا| بالعالم؟< بالعالم>");
    splits("he", " שלום| עולם|.", " שלום| עולם.< עולם>");
    splits("fr", " aujour|d|'|hui| l|'|été|,", " aujourd'hui| l'été,< l'été>");
    splits("es", " ¿|Qué| pasa|?", " ¿Qué<Qué>| pasa?< pasa>");
}

static void scripts_without_spaces_are_split_at_characters(void **state)
{
    (void)state;
    splits("zh", "你|好|，|世界|。", "你|好，<好>|世界。<世界>");
    splits("yue", "係|唔|係", "係|唔|係");
    splits("ja", "「|こん|にち|は|」|と|言|った|。",
           "「こん<こん>|にち|は」<は>|と|言|った。<った>");
    /* Marks stay with their letters. */
    splits("th", "ส|ว|ั|สดี", "ส|วั|สดี");
    splits("ja", "か|\xE3\x82\x99|ラ|ー|メン", "か\xE3\x82\x99|ラー|メン");
    splits("my", "မ|င|်|ဂ", "မ|င်|ဂ");
    splits("lo", "ສະ|ບ|າ|ຍ", "ສະ|ບ|າ|ຍ");
    /* The same in a language with spaces is one word. */
    splits("en", " 你|好", " 你好");
}

static void characters_stay_whole(void **state)
{
    (void)state;
    splits("zh", "\xE4|\xBD\xA0|\xE5\xA5|\xBD", "你|好");
    splits("zh", "\xF0\x9F|\x98\x80|好", "😀|好");
    splits("ja", "👩|\xE2\x80\x8D|🚀|行", "👩\xE2\x80\x8D|🚀|行");
    splits("ja", "👍|🏽|行", "👍🏽|行");
    splits("en", " \xF0\x9F|\x98|\x80| ok", " 😀| ok");
    /* Damage does not hold up what follows. */
    splits("zh", "\xFF|好|\xE4\xBD", "\xFF<>|好\xE4\xBD<好>");
    splits("zh", "\xE4\xBD|A",
           "\xE4\xBD"
           "A");
}

static void punctuation_goes_where_it_belongs(void **state)
{
    (void)state;
    splits("en", " Yes|,| he| said|.", " Yes,< Yes>| he| said.< said>");
    splits("en", " \"|Yes|,\"| he", " \"Yes,\"<Yes>| he");
    splits("en", " (|so| to| speak|).", " (so<so>| to| speak).< speak>");
    splits("en", " -| No| -| yes", " - No< No>| - yes< yes>");
    splits("en", " well|...| yes", " well...< well>| yes");
    /* Inside of a word it parts nothing. */
    splits("en", " e|-|mail", " e-mail");
    splits("en", " U|.|S|.| army", " U.S.< U.S>| army");
    splits("en", " 3|.|5| or| 3|:|15", " 3.5| or| 3:15");
    splits("en", " don|'t| the| dogs|'| tails", " don't| the| dogs'< dogs>| tails");
    splits("en", " 50|%| of| $|5", " 50%| of| $5");
    /* Alone. */
    splits("en", "...", "...<>");
    splits("en", " -", " -<>");
    splits("en", " yes| ", " yes < yes>");
    splits("en", " ", " <>");
    splits("en", " ♪|♪| la", " ♪♪<>| la");
}

static void the_callers_lists_decide(void **state)
{
    (void)state;
    splits_with("en", " Yes|,| (|he|)", "", "", " Yes|,<>| (he<he>|)<>");
    splits_with("en", " Yes|,| he|!", "", "!", " Yes|,<>| he!< he>");
    splits_with("zh", "你|，|好|！", "", "！", "你|，<>|好！<好>");
    splits_with("ja", "『|本|』", "(", ")", "『本』<本>");
    splits_with("ja", "『|本|』", "", "", "『<>|本|』<>");
}

static void spans_of_segments_follow_each_other(void **state)
{
    (void)state;
    struct words w = {0};
    struct word_piece pieces[] = {{" a", 2}, {"b", 1}, {"c", 1}, {" d", 2}};
    assert_int_equal(words_split(&w, pieces, 2, 0, 0, NULL, NULL, NULL), 0);
    assert_int_equal(words_split(&w, pieces + 2, 2, 2, 0, NULL, NULL, NULL), 0);
    assert_int_equal(w.n_spans, 3);
    assert_int_equal(w.spans[1].from, 2);
    assert_int_equal(w.spans[1].to, 3);
    assert_int_equal(w.spans[2].to, 4);
    words_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces_part_words),
        cmocka_unit_test(scripts_without_spaces_are_split_at_characters),
        cmocka_unit_test(characters_stay_whole),
        cmocka_unit_test(punctuation_goes_where_it_belongs),
        cmocka_unit_test(the_callers_lists_decide),
        cmocka_unit_test(spans_of_segments_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
