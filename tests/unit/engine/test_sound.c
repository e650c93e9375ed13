/* Where sound is, and edges that are pulled to it. A level is drawn as a digit, tens of
 * dB above -100; what is found as "#" for sound, "-" for a short quiet, "." for a pause.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/sound.h"

#include <string.h>

static const char *found_with(const char *drawn, const int *cuts, size_t n_cuts)
{
    static char out[101];
    uint8_t levels[100] = {0}, sound[100] = {0};
    size_t n = strlen(drawn);
    for (size_t i = 0; i < n; i++)
        levels[i] = (uint8_t)(10 * (drawn[i] - '0'));
    sound_find(levels, n, cuts, n_cuts, sound);
    for (size_t i = 0; i < n; i++)
        out[i] = "#-."[sound[i]];
    out[n] = '\0';
    return out;
}

static const char *found(const char *drawn)
{
    return found_with(drawn, NULL, 0);
}

static void pauses_are_long_closures_are_short(void **state)
{
    (void)state;
    assert_string_equal(found("8888877772222777888222222227778"),
                        "#########----######........####");
    /* At the ends of the window every quiet is one. */
    assert_string_equal(found("2288888888288888888822"), "..########-#########..");
    assert_string_equal(found("0000"), "....");
    assert_string_equal(found("0"), ".");
}

static void the_background_moves_the_threshold(void **state)
{
    (void)state;
    /* Speech of 80 dB in noise of 60. */
    assert_string_equal(found("666666666687787788666666666666"), ".........."
                                                                 "########"
                                                                 "............");
    /* A voice that fades is no pause. */
    assert_string_equal(found("8888888777766666658888881111111111"),
                        "########################..........");
}

static void a_cut_is_an_end(void **state)
{
    (void)state;
    const int cuts[] = {6, 12};
    assert_string_equal(found_with("888822288888888888", cuts, 2), "####...###########");
    assert_string_equal(found_with("888888882228888888", cuts, 2), "########---#######");
    assert_string_equal(found_with("888888888888288888", cuts, 2), "############.#####");
}

/* Words are drawn as letters under what is found; the edges that are wanted likewise. */
static void snaps(const char *sound, const char *words, const char *wanted)
{
    uint8_t found_sound[100] = {0};
    size_t n = strlen(sound), n_words = 0, start[26] = {0}, end[26] = {0};
    char got[101];
    for (size_t i = 0; i < n; i++) {
        found_sound[i] = (uint8_t)(strchr("#-.", sound[i]) - "#-.");
        if (words[i] == ' ')
            continue;
        size_t w = (size_t)(words[i] - 'a');
        if (w >= n_words) {
            start[w] = i;
            n_words = w + 1;
        }
        end[w] = i + 1;
    }
    sound_snap(found_sound, n, start, end, n_words);
    memset(got, ' ', n);
    got[n] = '\0';
    for (size_t w = 0; w < n_words; w++)
        memset(got + start[w], (char)('a' + w), end[w] - start[w]);
    assert_string_equal(got, wanted);
}

static void edges_go_to_the_sound(void **state)
{
    (void)state;
    snaps("..........########..........", /* both in silence */
          "      aaaaaaaaaaaaaaaa      ", "          aaaaaaaa          ");
    snaps("....############............", /* both within */
          "       aaaaaa               ", "    aaaaaaaaaaaa            ");
    /* What touches a neighbour stays. */
    snaps("....####################....", "    aaaaaaaaabbbbbbbbbbb    ",
          "    aaaaaaaaabbbbbbbbbbb    ");
    /* A neighbour is not run over, and only the near sound is reached for. */
    snaps("############################################",
          "   aaaaa  bbbbb                             ",
          "aaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbb    ");
}

static void a_word_without_sound_stays(void **state)
{
    (void)state;
    snaps("............................", "      aaaaaa  bb            ",
          "      aaaaaa  bb            ");
    /* A closure inside of a word does not end it. */
    snaps("..######--######....", "   aaaaaaaaaaaaa    ", "  aaaaaaaaaaaaaa    ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_are_long_closures_are_short),
        cmocka_unit_test(the_background_moves_the_threshold),
        cmocka_unit_test(a_cut_is_an_end),
        cmocka_unit_test(edges_go_to_the_sound),
        cmocka_unit_test(a_word_without_sound_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
