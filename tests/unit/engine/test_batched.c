/* Windows side by side: the same text whatever the batch, and in order. */
#include "scripted.h"

#include "base/mem.h"

#include <math.h>
#include <pthread.h>

/* The sound is equally loud everywhere: a window ends as late as it may, which is the
 * middle of the last fifth of a second. */
static const struct line talk[] = {
    {0, 20, 0, {BEGIN, 1, 2, BEGIN + 500, BEGIN + 600, 3}}, /* no last timestamp */
    {2790, 20, 0, {BEGIN + 40, 3, 4, BEGIN + 1300}},
    {5580, 20, 0, {BEGIN, 5, BEGIN + 300, BEGIN + 300}},
};

/* Who comes when is not in our hands: so often it is tried to see as many together as may
 * be. */
#define TRIES 50

static void each_window_is_heard_once(void **state)
{
    (void)state;
    for (int batch = 0; batch <= WINDOWS; batch++) {
        struct fixture f;
        begin(&f, talk, ARRAY_LENGTH(talk));
        f.params.mode = WHISPER_MODE_BATCHED;
        f.params.batch_size = batch;
        assert_int_equal(go(&f, 70), 0);
        assert_int_equal(f.result.n_segments, 4);
        expect(&f, 0, "ab", 0, 10);
        expect(&f, 1, "c", 12, 27.9);
        expect(&f, 2, "cd", 27.9, 53.9);
        expect(&f, 3, "e", 55.8, 61.8);
        assert_int_equal(net.encoded, 3);
        assert_int_equal(f.watch.n_checkpoints, 3);
        assert_int_equal(f.watch.checkpoints[0], 2790);
        assert_int_equal(f.watch.checkpoints[2], 7000);
        end(&f);
    }
}

/* As many as are wanted share the steps, and never more. */
static void windows_share_the_steps(void **state)
{
    (void)state;
    for (int batch = 1; batch <= WINDOWS; batch++) {
        int wanted = batch < 3 ? batch : 3, most = 0;
        for (int i = 0; i < TRIES && most < wanted; i++) {
            struct fixture f;
            begin(&f, talk, ARRAY_LENGTH(talk));
            net.pause_us = 300;
            f.params.mode = WHISPER_MODE_BATCHED;
            f.params.batch_size = batch;
            assert_int_equal(go(&f, 70), 0);
            assert_int_equal(f.result.n_segments, 4);
            assert_true(net.most <= wanted);
            most = net.most > most ? net.most : most;
            end(&f);
        }
        assert_int_equal(most, wanted);
    }
}

/* ---- recordings beside each other ---- */

static void *go_beside(void *arg)
{
    struct fixture *f = arg;
    assert_int_equal(go(f, 70), 0);
    return NULL;
}

/* Two recordings of one window at a time each share the steps; each comes out as alone.
 */
static void recordings_share_the_steps(void **state)
{
    (void)state;
    int most = 0;
    for (int i = 0; i < TRIES && most < 2; i++) {
        struct fixture f, other;
        pthread_t thread;
        begin(&f, talk, ARRAY_LENGTH(talk));
        net.pause_us = 300;
        begin_beside(&other, &f);
        f.params.mode = other.params.mode = WHISPER_MODE_BATCHED;
        f.params.batch_size = other.params.batch_size = 1;
        assert_int_equal(pthread_create(&thread, NULL, go_beside, &other), 0);
        assert_int_equal(go(&f, 70), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        for (int k = 0; k < 2; k++) {
            const struct fixture *one = k ? &other : &f;
            assert_int_equal(one->result.n_segments, 4);
            expect(one, 0, "ab", 0, 10);
            expect(one, 3, "e", 55.8, 61.8);
            assert_int_equal(one->watch.n_checkpoints, 3);
        }
        assert_in_range(net.most, 1, 2);
        most = net.most;
        end(&other);
        end(&f);
    }
    assert_int_equal(most, 2);
}

static void going_on_gives_the_same(void **state)
{
    (void)state;
    for (int after = 1; after <= 2; after++) {
        struct fixture f;
        begin(&f, talk, ARRAY_LENGTH(talk));
        f.params.mode = WHISPER_MODE_BATCHED;
        f.params.batch_size = 1;
        f.watch.cancel_after = after;
        assert_int_equal(go(&f, 70), ERR_CANCELLED);
        f.watch.cancel_after = 0;
        f.params.start_frame = f.watch.checkpoints[after - 1];
        f.params.batch_size = 0;
        assert_int_equal(go(&f, 70), 0);
        assert_int_equal(f.result.n_segments, 4);
        expect(&f, 3, "e", 55.8, 61.8);
        /* The window before is heard again, for what was said in it. */
        assert_int_equal(net.encoded, 4);
        end(&f);
    }
}

static void only_what_is_bad_is_heard_again(void **state)
{
    (void)state;
    /* The second window is unsure of itself: half the probability at each token. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 500}},
        {2790, 7.5f, 0, {BEGIN, 2, BEGIN + 500}},
        {5580, 20, 0, {BEGIN, 3, BEGIN + 400}},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.mode = WHISPER_MODE_BATCHED;
    f.params.log_prob_threshold = -0.3f;
    assert_int_equal(go(&f, 70), 0);
    assert_int_equal(f.result.n_segments, 3);
    expect(&f, 0, "a", 0, 10);
    expect(&f, 2, "c", 55.8, 63.8);
    assert_true(f.result.segments[0].temperature == 0);
    assert_true(f.result.segments[2].temperature == 0);
    assert_int_equal(net.encoded, 3);
    end(&f);
}

static void what_was_said_cannot_be_told(void **state)
{
    (void)state;
    static const struct line lines[] = {{-1, 20, 0, {BEGIN, 1, BEGIN + 1500}}};
    struct fixture f;
    begin(&f, lines, 1);
    f.params.mode = WHISPER_MODE_BATCHED;
    f.params.condition_on_previous_text = true;
    assert_int_equal(go(&f, 70), 0);
    assert_int_equal(net.most, 1); /* one after the other */
    assert_true(net.n_prompt > 3);
    end(&f);
}

static void it_is_the_default_with_a_voice_detector(void **state)
{
    (void)state;
    static const struct line lines[] = {{-1, 20, 0, {BEGIN, 1, BEGIN + 1500}}};
    int most = 0, tries = 0;
    for (int voice = 0; voice < 2; voice++) {
        struct fixture f;
        if (voice)
            begin_with_voice(&f, lines, 1);
        else
            begin(&f, lines, 1);
        net.pause_us = 300;
        f.params.mode = WHISPER_MODE_DEFAULT;
        assert_int_equal(go(&f, 70), 0);
        most = net.most > most ? net.most : most;
        if (voice && most < 3 && ++tries < TRIES)
            voice--;
        else
            assert_int_equal(most, voice ? 3 : 1);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_window_is_heard_once),
        cmocka_unit_test(windows_share_the_steps),
        cmocka_unit_test(recordings_share_the_steps),
        cmocka_unit_test(going_on_gives_the_same),
        cmocka_unit_test(only_what_is_bad_is_heard_again),
        cmocka_unit_test(what_was_said_cannot_be_told),
        cmocka_unit_test(it_is_the_default_with_a_voice_detector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
