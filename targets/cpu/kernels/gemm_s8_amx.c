/* The byte product on AMX tiles: 32 x 32 accumulators in four tiles, 64 steps of k at a time.
 *
 * Never run on AMX silicon here: the tests run it through amx_emulated.h.
 *
 * The A panel is [k/64][32][64] signed bytes: tiles of 16 rows unchanged. The B panel is [k/4][32][4]: rows of 128
 * bytes, of which a tile takes every half. A rest of k is copied into 64 whole steps. */
#include "pack_fours.h"

#ifdef EW_EMULATE_AMX
#include "amx_emulated.h"
#else
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if EW_KA != 64 || EW_KB != 4 || EW_S8_MR != 32 || EW_S8_NR != 32 || EW_S8_OFFSET != 0 || EW_U8_OFFSET != 127
#error "another geometry"
#endif

/* Tiles: 0..3 accumulators (upper left, upper right, lower left, lower right), 4 5 left, 6 7 right. */

/* Rows for which this thread's tiles are set up; 0: not yet. */
static _Thread_local int32_t configured;

/* Linux grants a process the tiles' state on demand only: ARCH_REQ_XCOMP_PERM of XTILEDATA. 1 granted, -1 refused. */
static int permitted(void) {
#ifdef EW_EMULATE_AMX
  return 1;
#else
  static int32_t known;
  int32_t state = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (!state) {
    state = syscall(SYS_arch_prctl, 0x1023, 18) == 0 ? 1 : -1;
    __atomic_store_n(&known, state, __ATOMIC_RELAXED);
  }
  return state;
#endif
}

static void configure(int32_t m) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } config __attribute__((aligned(64))) = {.palette = 1};
  uint8_t upper = (uint8_t)(m < 16 ? m : 16), lower = (uint8_t)(m > 16 ? m - 16 : 16);
  const uint8_t rows[8] = {upper, upper, lower, lower, upper, lower, 16, 16};
  for (int t = 0; t < 8; ++t) config.bytes[t] = 64, config.rows[t] = rows[t];
  _tile_loadconfig(&config);
  configured = m;
}

/* The last k % 64 steps of a panel, and zeros. */
static void copy_rest(const int8_t *b, int64_t rest, int8_t *whole) {
  int64_t groups = (rest + 3) / 4;
  for (int64_t g = 0; g < 16; ++g)
    for (int half = 0; half < 128; half += 64)
      _mm512_storeu_si512(whole + 128 * g + half, g < groups ? _mm512_loadu_si512(b + 128 * g + half) : _mm512_setzero_si512());
}

/* Where the system refuses the tiles. */
static void plainly(const int8_t *a, const int8_t *b, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  for (int32_t i = 0; i < m; ++i) {
    int32_t sum[32] = {0};
    for (int64_t p = 0; p < k; ++p)
      for (int j = 0; j < 32; ++j) sum[j] += a[p / 64 * 2048 + 64 * i + p % 64] * b[p / 4 * 128 + 4 * j + p % 4];
    memcpy(acc + i * ldacc, sum, sizeof sum);
  }
}

#define STEP16(a, b)                                                                                                   \
  _tile_loadd(4, a, 64), _tile_loadd(6, b, 128), _tile_dpbssd(0, 4, 6), _tile_loadd(7, (b) + 64, 128),                  \
      _tile_dpbssd(1, 4, 7)
#define STEP32(a, b) STEP16(a, b), _tile_loadd(5, (a) + 1024, 64), _tile_dpbssd(2, 5, 6), _tile_dpbssd(3, 5, 7)

void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  const int8_t *a = a_panel, *b = b_panel;
  if (permitted() < 0) {
    plainly(a, b, k, acc, ldacc, m);
    return;
  }
  if (configured != m) configure(m);
  int8_t whole[2048] __attribute__((aligned(64)));
  if (k % 64) copy_rest(b + k / 64 * 2048, k % 64, whole);
  _tile_zero(0);
  _tile_zero(1);
  if (m > 16) {
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t p = 0; p < k / 64; ++p, a += 2048, b += 2048) STEP32(a, b);
    if (k % 64) STEP32(a, whole);
    _tile_stored(2, acc + 16 * ldacc, 4 * ldacc);
    _tile_stored(3, acc + 16 * ldacc + 16, 4 * ldacc);
  } else {
    for (int64_t p = 0; p < k / 64; ++p, a += 2048, b += 2048) STEP16(a, b);
    if (k % 64) STEP16(a, whole);
  }
  _tile_stored(0, acc, 4 * ldacc);
  _tile_stored(1, acc + 16, 4 * ldacc);
}

/* Also makes this thread set its tiles up again: another library may have used them since the last product. */
static inline void pack_rows(const int8_t *a, int64_t lda, int32_t m, int64_t k, __m512i less, int8_t *panel) {
  configured = 0;
  for (int64_t p = 0; p < k; p += 64, panel += 2048) {
    __mmask64 some = k - p >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (k - p)) - 1;
    for (int32_t i = 0; i < m; ++i)
      _mm512_storeu_si512(panel + 64 * i, _mm512_sub_epi8(_mm512_maskz_loadu_epi8(some, a + i * lda + p), less));
  }
}

void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  pack_rows(a, lda, m, k, _mm512_setzero_si512(), panel);
}

void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  pack_rows((const int8_t *)a, lda, m, k, _mm512_set1_epi8(127), panel);
}
