/* Panels of bytes from rows whose k are adjacent: [k / group][rows][group] for 8 or 16 rows and groups of 2, 4, 8.
 *
 * Rows are read 16 values of k at a time; the last values of a row are read without accessing memory after it. */
#ifndef NEON_PACK_H
#define NEON_PACK_H

#include <arm_neon.h>
#include <string.h>

#define EW_INLINE static inline __attribute__((always_inline))

/* The last `rest` < 16 of the k bytes of a row, then zeros. */
EW_INLINE uint8x16_t ew_row_end(const uint8_t *row, int64_t k, int64_t rest) {
  if (k >= 16) {
    static const uint8_t count[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8x16_t shifted = vaddq_u8(vld1q_u8(count), vdupq_n_u8((uint8_t)(16 - rest)));
    return vqtbl1q_u8(vld1q_u8(row + k - 16), shifted);
  }
  uint8_t bytes[16] = {0};
  for (int64_t i = 0; i < rest; ++i) bytes[i] = row[k - rest + i];
  return vld1q_u8(bytes);
}

#define EW_ZIP(bits, i, a, b) \
  vreinterpretq_u8_u##bits(vzip##i##q_u##bits(vreinterpretq_u##bits##_u8(a), vreinterpretq_u##bits##_u8(b)))

/* 8 rows x 16 bytes to 16 / group blocks of 8 x group bytes, each as 8 * group / 16 vectors in a row. */
EW_INLINE void ew_interleave8(const int group, uint8x16_t x[8]) {
  uint8x16_t y[8];
  if (group == 8) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      y[i] = EW_ZIP(64, 1, x[2 * i], x[2 * i + 1]);
      y[4 + i] = EW_ZIP(64, 2, x[2 * i], x[2 * i + 1]);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = y[i];
    return;
  }
  /* Pairs of 32-bit units of rows i and i + 2, then of those: units 0..3 of the rows i ... i + 3. */
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    uint8x16_t a = EW_ZIP(32, 1, x[i], x[i + 2]), b = EW_ZIP(32, 2, x[i], x[i + 2]);
    uint8x16_t c = EW_ZIP(32, 1, x[i + 1], x[i + 3]), d = EW_ZIP(32, 2, x[i + 1], x[i + 3]);
    y[i] = EW_ZIP(32, 1, a, c), y[i + 1] = EW_ZIP(32, 2, a, c);
    y[i + 2] = EW_ZIP(32, 1, b, d), y[i + 3] = EW_ZIP(32, 2, b, d);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (group == 4) {
      x[2 * i] = y[i], x[2 * i + 1] = y[4 + i];
    } else { /* rows' even pairs, then their odd ones */
      x[2 * i] = vreinterpretq_u8_u16(vuzp1q_u16(vreinterpretq_u16_u8(y[i]), vreinterpretq_u16_u8(y[4 + i])));
      x[2 * i + 1] = vreinterpretq_u8_u16(vuzp2q_u16(vreinterpretq_u16_u8(y[i]), vreinterpretq_u16_u8(y[4 + i])));
    }
  }
}

/* `panel` gets bytes of 8 rows minus `subtracted`; consecutive blocks of 8 x group bytes are `pitch` bytes apart. Rows
 * from m on are copies of row m - 1. Bytes beyond k are minus `subtracted`. */
EW_INLINE void ew_pack_rows8(const int group, const uint8_t *rows, int64_t ld, int32_t m, int64_t k, uint8_t subtracted,
                             uint8_t *panel, int64_t pitch) {
  const uint8x16_t minus = vdupq_n_u8(subtracted);
  const uint8_t *row[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) row[i] = rows + (i < m ? i : m - 1) * ld;
  uint8x16_t x[8];
  int64_t p = 0;
  for (; p + 16 <= k; p += 16) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = vsubq_u8(vld1q_u8(row[i] + p), minus);
    ew_interleave8(group, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) vst1q_u8(panel + i * 2 / group * pitch + i % (group / 2) * 16, x[i]);
    panel += 16 / group * pitch;
  }
  if (p < k) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = vsubq_u8(ew_row_end(row[i], k, k - p), minus);
    ew_interleave8(group, x);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (p + i * 2 / group * group < k) vst1q_u8(panel + i * 2 / group * pitch + i % (group / 2) * 16, x[i]);
  }
}

/* Columns n ... of each block of `columns` x group bytes become zero. */
EW_INLINE void ew_clear_columns(const int columns, const int group, int32_t n, int64_t k, uint8_t *panel) {
  if (n < columns)
    for (int64_t p = 0; p < k; p += group, panel += columns * group)
      memset(panel + n * group, 0, (size_t)(columns - n) * group);
}

/* Rows of a matrix whose columns are adjacent: 8 or 16 columns of row p, zero from n on. A narrow row is read with
 * what follows it, as long as that belongs to the matrix. */
struct ew_columns {
  const uint8_t *b;
  int64_t stride, k, safe; /* rows below `safe` may be read in full width */
  int32_t n;
  uint8x16_t mask;
};

EW_INLINE struct ew_columns ew_columns_of(const int columns, const int8_t *b, int64_t stride, int32_t n, int64_t k) {
  struct ew_columns c = {(const uint8_t *)b, stride, k, k, n, vdupq_n_u8(255)};
  uint8_t mask[16];
  if (n < columns) {
    for (int j = 0; j < 16; ++j) mask[j] = j < n ? 255 : 0;
    c.mask = vld1q_u8(mask);
    for (c.safe = k; c.safe > 0 && (c.safe - 1) * stride + columns > (k - 1) * stride + n;) --c.safe;
  }
  return c;
}

/* Row p < safe. */
EW_INLINE uint8x16_t ew_columns_whole(const int columns, const struct ew_columns *c, int64_t p) {
  const uint8_t *row = c->b + p * c->stride;
  return vandq_u8(columns == 16 ? vld1q_u8(row) : vcombine_u8(vld1_u8(row), vdup_n_u8(0)), c->mask);
}

/* Any row, zero from k on. */
static inline uint8x16_t ew_columns_row(const int columns, const struct ew_columns *c, int64_t p) {
  if (p < c->safe) return ew_columns_whole(columns, c, p);
  uint8_t bytes[16] = {0};
  if (p < c->k)
    for (int j = 0; j < c->n; ++j) bytes[j] = c->b[p * c->stride + j];
  return vld1q_u8(bytes);
}

#endif
