/* A small Whisper of random weights, filled in memory, for tests that need no file. */
#ifndef TESTS_RANDOM_MODEL_H
#define TESTS_RANDOM_MODEL_H

#include "engine/model.h"

/* 2 + 2 layers of 32 (audio) and 48 (text), heads of 16, vocabulary of 101. Owned by the
 * caller; fails the test when memory is out. */
struct whisper_model *random_model_new(enum weight_type type);
void random_model_free(struct whisper_model *m);

#endif
