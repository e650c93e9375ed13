/* Which level runs here. The processor is asked what it can do, and the operating system
 * (through XCR0) which registers it saves: both must agree, or a context switch would
 * damage the upper halves. On Arm the operating system says both (the auxiliary vector).
 */
#include "engine/kernels/kernels.h"

#include "base/log.h"
#include "base/mem.h"
#include "engine/kernels/levels.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(n) (1u << (n))

struct features {
    bool avx2, avxvnni, avx512, vnni, amx;
};

static unsigned read_xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

#ifdef WITH_AMX
/* Tiles are 8 KiB of state, which Linux keeps only for a process that asks (its
 * x86/xstate document). Intel SDM volume 1, chapter 18, and volume 2, CPUID leaf 1Dh. */
static bool may_use_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    unsigned wanted = BIT(24) | BIT(25); /* AMX-TILE, AMX-INT8 */
    if ((d & wanted) != wanted || (read_xcr0() & 0x60000) != 0x60000)
        return false;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d))
        return false;
    bool fits = (b & 0xffff) >= 64 && b >> 16 >= 8 && (c & 0xffff) >= 16;
    return fits && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

/* Intel SDM volume 1, chapters 14.3, 14.5.3 and 15.2. */
static struct features read_features(void)
{
    struct features f = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return f;
    unsigned wanted = BIT(12) | BIT(27) | BIT(28) | BIT(29); /* FMA OSXSAVE AVX F16C */
    if ((c & wanted) != wanted)
        return f;
    unsigned xcr0 = read_xcr0();
    if ((xcr0 & 0x06) != 0x06) /* SSE and AVX state */
        return f;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & BIT(5)))
        return f;
    f.avx2 = true;
    wanted = BIT(16) | BIT(17) | BIT(30) | BIT(31); /* F DQ BW VL */
    f.avx512 = (b & wanted) == wanted && (xcr0 & 0xe0) == 0xe0;
    f.vnni = f.avx512 && (c & BIT(11));
#ifdef WITH_AMX
    f.amx = f.vnni && may_use_tiles();
#endif
    /* Subleaf 1 exists where subleaf 0 says so. */
    f.avxvnni = a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & BIT(4));
    return f;
}
#elif defined(__AARCH64EL__)
#include <sys/auxv.h>

/* Linux's numbers (asm/hwcap.h), which older headers lack in part. */
#define CAN_DOT_PRODUCTS    (1ul << 20) /* AT_HWCAP */
#define CAN_MATRIX_PRODUCTS (1ul << 13) /* AT_HWCAP2 */

struct features {
    bool dotprod, i8mm;
};

static struct features read_features(void)
{
    struct features f = {.dotprod = getauxval(AT_HWCAP) & CAN_DOT_PRODUCTS};
    f.i8mm = f.dotprod && (getauxval(AT_HWCAP2) & CAN_MATRIX_PRODUCTS);
    return f;
}
#endif

#if defined(__x86_64__) || defined(__AARCH64EL__)
/* Asked once: in a virtual machine each cpuid goes to the host, 20 µs and more. */
static struct features features;

static void ask(void)
{
    features = read_features();
}

static struct features known_features(void)
{
    static pthread_once_t asked = PTHREAD_ONCE_INIT;
    pthread_once(&asked, ask);
    return features;
}
#endif

/* One product with whole tiles and ends in each direction. */
bool kernels_agree(const struct kernels *a, const struct kernels *b)
{
    enum { M = 33, K = 132, N = 33, PANELS = 3, PANEL = K * KERNEL_LANES };
    _Alignas(64) uint8_t w[PANELS * PANEL];
    _Alignas(64) int8_t x[M][QUANTISED_BYTES(K)] = {{0}};
    float ones[PANELS * KERNEL_LANES], y[2][M * N];
    int32_t sums[M] = {0};
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof w; i++)
        w[i] = (uint8_t)(1 + (random = random * 1664525 + 1013904223) % 255);
    for (int r = 0; r < M; r++)
        for (int i = 0; i < K; i++) {
            x[r][i] = (int8_t)((random = random * 1664525 + 1013904223) % 255 - 127);
            sums[r] += 128 * x[r][i];
        }
    for (int i = 0; i < PANELS * KERNEL_LANES; i++)
        ones[i] = 1;
    struct gemm_s8 g = {.x = x,
                        .x_scales = ones,
                        .x_sums = sums,
                        .x_stride = sizeof x[0],
                        .w = w,
                        .w_stride = PANEL,
                        .w_scales = ones,
                        .y = y[0],
                        .y_stride = N,
                        .m = M,
                        .k = K,
                        .n = N};
    a->gemm_s8(&g);
    g.y = y[1];
    b->gemm_s8(&g);
    return memcmp(y[0], y[1], sizeof y[0]) == 0;
}

#ifdef WITH_AMX
/* No machine that has it was at hand when amx.h was written: where there is one, it is
 * tried before it is trusted. */
static bool amx_is_right(void)
{
    static _Atomic int known; /* 0: not yet; 1: yes; -1: no */
    if (!known)
        known = kernels_agree(&kernels_amx, &kernels_avx512vnni) ? 1 : -1;
    return known > 0;
}
#endif

#if defined(__x86_64__)
#define LEVEL_NAMES "c, avx2, avxvnni, avx512, avx512vnni, amx"
#elif defined(__AARCH64EL__)
#define LEVEL_NAMES "c, neon, dotprod, i8mm"
#else
#define LEVEL_NAMES "c"
#endif

const struct kernels *kernels_level(int index)
{
    const struct kernels *levels[7] = {&kernels_c};
    int n = 1;
#if defined(__x86_64__)
    struct features f = known_features();
    if (f.avx2)
        levels[n++] = &kernels_avx2;
    if (f.avxvnni)
        levels[n++] = &kernels_avxvnni;
    if (f.avx512)
        levels[n++] = &kernels_avx512;
    if (f.vnni)
        levels[n++] = &kernels_avx512vnni;
#ifdef WITH_AMX
    if (f.amx && amx_is_right())
        levels[n++] = &kernels_amx;
#endif
#elif defined(__AARCH64EL__)
    struct features f = known_features();
    levels[n++] = &kernels_neon;
    if (f.dotprod)
        levels[n++] = &kernels_dotprod;
    if (f.i8mm)
        levels[n++] = &kernels_i8mm;
#endif
    return index >= 0 && index < n ? levels[index] : NULL;
}

const struct kernels *kernels_named(const char *name)
{
    const struct kernels *k;
    for (int i = 0; (k = kernels_level(i)); i++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

const struct kernels *kernels_choose(void)
{
    const struct kernels *best = &kernels_c, *k;
    for (int i = 0; (k = kernels_level(i)); i++)
        best = k;
    const char *wanted = getenv("WT_CPU_LEVEL");
    if (!wanted || !*wanted)
        return best;
    k = kernels_named(wanted);
    if (!k)
        log_warning("WT_CPU_LEVEL=%s cannot run here (or is none of " LEVEL_NAMES
                    "): using %s",
                    wanted, best->name);
    return k ? k : best;
}

void spectrum_tables_init(struct spectrum_tables *t)
{
    const double turn = 2 * M_PI;
    for (int i = 0; i < SPECTRUM_SAMPLES; i++)
        t->window[i] = (float)(0.5 - 0.5 * cos(turn * i / SPECTRUM_SAMPLES));
    for (int i = 0; i < 200; i++) {
        t->cos200[i] = (float)cos(turn * i / 200);
        t->sin200[i] = (float)sin(turn * i / 200);
    }
    for (int i = 0; i <= 100; i++) {
        t->cos400[i] = (float)cos(turn * i / 400);
        t->sin400[i] = (float)sin(turn * i / 400);
    }
}

/* Moves the exponent by multiplication, which makes subnormals come out right. */
float half_to_float(uint16_t half)
{
    union {
        uint32_t bits;
        float value;
    } u = {.bits = (uint32_t)(half & 0x7fff) << 13};
    if ((half & 0x7c00) == 0x7c00)
        u.bits |= 0x7f800000;
    else
        u.value *= 0x1p112f;
    u.bits |= (uint32_t)(half & 0x8000) << 16;
    return u.value;
}

uint16_t half_from_float(float value)
{
    union {
        float value;
        uint32_t bits;
    } u = {value};
    uint16_t sign = (uint16_t)(u.bits >> 16 & 0x8000);
    u.bits &= 0x7fffffff;
    if (u.bits > 0x7f800000) /* not a number: stays so, and quiet */
        return (uint16_t)(sign | 0x7e00 | (u.bits >> 13 & 0x3ff));
    if (u.bits >= 0x477ff000) /* rounds to more than 65504 */
        return sign | 0x7c00;
    if (u.bits < 0x38800000) { /* subnormal: let the adder round */
        u.value += 0.5f;
        return (uint16_t)(sign | (u.bits - 0x3f000000));
    }
    uint32_t odd = u.bits >> 13 & 1;
    return (uint16_t)(sign | ((u.bits + 0xfff + odd - (112u << 23)) >> 13));
}
