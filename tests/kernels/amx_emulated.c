/* The amx level with its tile instructions written out in C, as Intel's manual defines
 * them: what the level computes is tested where no processor has them. Whatever would be
 * a fault there ends the program here. */
#include <immintrin.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    int palette; /* 0: not configured */
    int row_bytes[8], rows[8];
    uint8_t tile[8][16][64];
} emulated;

static void demand(int claim, const char *what)
{
    if (!claim) {
        fprintf(stderr, "tiles: %s\n", what);
        abort();
    }
}

static void emulated_configure(const void *memory)
{
    const uint8_t *from = memory;
    demand(emulated.palette == 0, "configured twice without a release");
    memset(&emulated, 0, sizeof emulated);
    emulated.palette = from[0];
    demand(emulated.palette == 1 && from[1] == 0, "palette 1 from its first row");
    for (int i = 2; i < 16; i++)
        demand(from[i] == 0, "reserved bytes are zero");
    for (int i = 0; i < 16; i++) {
        int bytes = from[16 + 2 * i] | from[17 + 2 * i] << 8, rows = from[48 + i];
        demand(i < 8 ? bytes <= 64 && rows <= 16 : !bytes && !rows, "no such tile");
        demand((bytes == 0) == (rows == 0), "half a shape");
        if (i < 8) {
            emulated.row_bytes[i] = bytes;
            emulated.rows[i] = rows;
        }
    }
}

static void emulated_zero(int tile)
{
    demand(emulated.palette == 1 && emulated.rows[tile], "a tile without a shape");
    memset(emulated.tile[tile], 0, sizeof emulated.tile[tile]);
}

static void emulated_load(int tile, const void *from, size_t stride)
{
    emulated_zero(tile);
    for (int r = 0; r < emulated.rows[tile]; r++)
        memcpy(emulated.tile[tile][r], (const char *)from + (size_t)r * stride,
               (size_t)emulated.row_bytes[tile]);
}

static void emulated_store(int tile, void *to, size_t stride)
{
    demand(emulated.palette == 1 && emulated.rows[tile], "a tile without a shape");
    for (int r = 0; r < emulated.rows[tile]; r++)
        memcpy((char *)to + (size_t)r * stride, emulated.tile[tile][r],
               (size_t)emulated.row_bytes[tile]);
}

/* TDPBSUD: signed bytes of the first, unsigned ones of the second. */
static void emulated_multiply(int sum, int a, int b)
{
    demand(emulated.palette == 1 && sum != a && sum != b && a != b, "three tiles");
    demand(emulated.rows[a] == emulated.rows[sum] &&
               emulated.row_bytes[b] == emulated.row_bytes[sum] &&
               emulated.row_bytes[a] == 4 * emulated.rows[b],
           "shapes that fit");
    for (int r = 0; r < emulated.rows[sum]; r++)
        for (int c = 0; c < emulated.row_bytes[sum] / 4; c++) {
            int32_t v;
            memcpy(&v, &emulated.tile[sum][r][4 * c], 4);
            for (int k = 0; k < emulated.row_bytes[a]; k++)
                v += (int8_t)emulated.tile[a][r][k] *
                     emulated.tile[b][k / 4][4 * c + k % 4];
            memcpy(&emulated.tile[sum][r][4 * c], &v, 4);
        }
}

static void emulated_release(void)
{
    memset(&emulated, 0, sizeof emulated);
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbsud
#define _tile_loadconfig                emulated_configure
#define _tile_release                   emulated_release
#define _tile_zero                      emulated_zero
#define _tile_loadd(tile, from, stride) emulated_load(tile, from, stride)
#define _tile_stored(tile, to, stride)  emulated_store(tile, to, stride)
#define _tile_dpbsud                    emulated_multiply

#include "engine/kernels/kernels.h"

extern const struct kernels kernels_amx_emulated;

#define TILES
#define LEVEL      kernels_amx_emulated
#define LEVEL_NAME "amx (emulated)"
#include "engine/kernels/avx512.c"
