/* The levels that are built in, for kernels.c and its tests alone. */
#ifndef ENGINE_KERNELS_LEVELS_H
#define ENGINE_KERNELS_LEVELS_H

#include "engine/kernels/kernels.h"

#include <stdbool.h>

/* Whether both levels give the same in 8 bits, on numbers that both read alike: inputs as
 * plain bytes. */
bool kernels_agree(const struct kernels *a, const struct kernels *b);

extern const struct kernels kernels_c;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avxvnni;
extern const struct kernels kernels_avx512;
extern const struct kernels kernels_avx512vnni;
extern const struct kernels kernels_amx; /* where the compiler knows it: WITH_AMX */
#elif defined(__AARCH64EL__)
extern const struct kernels kernels_neon;
extern const struct kernels kernels_dotprod;
extern const struct kernels kernels_i8mm;
#endif

#endif
