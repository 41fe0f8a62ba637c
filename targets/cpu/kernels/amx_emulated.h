/* The few tile instructions of gemm_s8_amx.c in plain C, for processors without them: -DEW_EMULATE_AMX, in tests only.
 *
 * By Intel's description of the instructions: a tile has up to 16 rows of up to 64 bytes as the palette says, loads and
 * stores touch no more than that, rows and bytes beyond are zero, and a product's shapes have to agree. */
#ifndef EW_AMX_EMULATED_H
#define EW_AMX_EMULATED_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
  uint8_t rows[8];
  uint16_t bytes[8];
  uint8_t data[8][16][64];
} ew_tiles;

static inline void ew_emulated_loadconfig(const void *config) {
  const uint8_t *c = config;
  if (c[0] != 1) abort();
  memset(&ew_tiles, 0, sizeof ew_tiles);
  for (int t = 0; t < 8; ++t) {
    memcpy(&ew_tiles.bytes[t], c + 16 + 2 * t, 2);
    ew_tiles.rows[t] = c[48 + t];
    if (ew_tiles.rows[t] > 16 || ew_tiles.bytes[t] > 64) abort();
  }
}

static inline void ew_emulated_zero(int t) { memset(ew_tiles.data[t], 0, sizeof ew_tiles.data[t]); }

static inline void ew_emulated_loadd(int t, const void *base, int64_t stride) {
  ew_emulated_zero(t);
  for (int r = 0; r < ew_tiles.rows[t]; ++r) memcpy(ew_tiles.data[t][r], (const uint8_t *)base + r * stride, ew_tiles.bytes[t]);
}

static inline void ew_emulated_stored(int t, void *base, int64_t stride) {
  for (int r = 0; r < ew_tiles.rows[t]; ++r) memcpy((uint8_t *)base + r * stride, ew_tiles.data[t][r], ew_tiles.bytes[t]);
}

static inline void ew_emulated_dpbssd(int c, int a, int b) {
  if (ew_tiles.rows[c] != ew_tiles.rows[a] || ew_tiles.bytes[c] != ew_tiles.bytes[b]) abort();
  if (ew_tiles.bytes[a] != 4 * ew_tiles.rows[b]) abort();
  for (int r = 0; r < ew_tiles.rows[c]; ++r)
    for (int p = 0; p < ew_tiles.bytes[a]; ++p)
      for (int n = 0; n < ew_tiles.bytes[c] / 4; ++n) {
        int32_t sum;
        memcpy(&sum, &ew_tiles.data[c][r][4 * n], 4);
        sum += (int8_t)ew_tiles.data[a][r][p] * (int8_t)ew_tiles.data[b][p / 4][4 * n + p % 4];
        memcpy(&ew_tiles.data[c][r][4 * n], &sum, 4);
      }
}

#undef _tile_loadconfig
#define _tile_loadconfig(config) ew_emulated_loadconfig(config)
#undef _tile_zero
#define _tile_zero(t) ew_emulated_zero(t)
#undef _tile_loadd
#define _tile_loadd(t, base, stride) ew_emulated_loadd(t, base, stride)
#undef _tile_stored
#define _tile_stored(t, base, stride) ew_emulated_stored(t, base, stride)
#undef _tile_dpbssd
#define _tile_dpbssd(c, a, b) ew_emulated_dpbssd(c, a, b)

#endif
