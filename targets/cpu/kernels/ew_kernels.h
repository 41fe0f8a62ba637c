/* The micro-kernels that compiled models call. Each model contains one variant of them, so names have no suffix.
 *
 * The geometry (EW_F32_MR ... EW_U8_OFFSET) comes from targets/cpu/variants.py by -D. Pointers may be unaligned unless
 * stated otherwise; buffers do not overlap unless "in place" is stated. Rows and columns count from 0.
 * "Exactly" means: the bits of the function of that name in passes/ops/arith.py.
 */
#ifndef EW_KERNELS_H
#define EW_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* acc[i*ldacc+j] = sum_p a[i*lda+p] * b[p*NR+j] for i < m <= MR and all NR columns; b: a panel of ew_pack_b_f32,
 * 64-byte aligned. Other rows of acc are not touched. */
void ew_gemm_f32(const float *a, int64_t lda, const float *b, int64_t k, float *acc, int64_t ldacc, int32_t m);

/* panel[p*NR+j] = b[j*stride_n+p*stride_k], zero for columns j >= n. */
void ew_pack_b_f32(const float *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, float *panel);

/* panel[p/KA][MR][p%KA] = a[i*lda+p] + S8_OFFSET, resp. a[i*lda+p] - U8_OFFSET for bytes 0..254. Values beyond k
 * are multiplied by zeros of the B panel; rows >= m hold any value. */
void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel);
void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel);

/* panel[p/KB][NR][p%KB] = b[j*stride_n+p*stride_k], zero beyond k and n; colsum[j] = sum_p b for NR columns. */
void ew_pack_b_s8(const int8_t *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, int8_t *panel,
                  int32_t *colsum);

/* acc[i*ldacc+j] = sum_p panel value of a * b, exact in int32, plus S8_OFFSET*colsum for int8 rows, minus
 * U8_OFFSET*colsum for uint8 rows. Values of b and int8 rows are in [-127, 127]. */
void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m);

/* Turns one row of n scores into weights 0..254, exactly; returns their sum. n >= 1. */
int32_t ew_attention_weights(const int32_t *scores, int64_t n, int32_t multiplier, int32_t shift, uint8_t *weights);

/* One row of layer_normalization, exactly. 1 <= n <= 1024, |multiplier| < 2^16, |offset| < 2^47, 1 <= shift <= 40,
 * 1 <= eps_term <= 2^50. */
void ew_layer_norm_s16(const int16_t *x, const int32_t *multiplier, const int64_t *offset, int64_t n, int64_t eps_term,
                       int32_t shift, int8_t *out);
void ew_layer_norm_s16_s16(const int16_t *x, const int32_t *multiplier, const int64_t *offset, int64_t n,
                           int64_t eps_term, int32_t shift, int16_t *out);

/* The same for several rows, ldx and ldout elements apart. */
void ew_layer_norm_rows_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset,
                            int64_t n, int64_t eps_term, int32_t shift, int8_t *out, int64_t ldout);
void ew_layer_norm_rows_s16_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier,
                                const int64_t *offset, int64_t n, int64_t eps_term, int32_t shift, int16_t *out,
                                int64_t ldout);

/* Rows of rms_normalization, exactly, with the bounds of LayerNorm. */
void ew_rms_norm_rows_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset,
                          int64_t n, int64_t eps_term, int32_t shift, int8_t *out, int64_t ldout);
void ew_rms_norm_rows_s16_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier,
                              const int64_t *offset, int64_t n, int64_t eps_term, int32_t shift, int16_t *out,
                              int64_t ldout);

/* Rows of either, exactly, of any width up to 2^20; 1 <= eps_term <= 2^60. multiplier and offset have n values where step is
 * 1, and one for all where it is 0. */
void ew_layer_norm_wide_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset,
                            int64_t step, int64_t n, int64_t eps_term, int32_t shift, int8_t *out, int64_t ldout);
void ew_layer_norm_wide_s16_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier,
                                const int64_t *offset, int64_t step, int64_t n, int64_t eps_term, int32_t shift,
                                int16_t *out, int64_t ldout);
void ew_rms_norm_wide_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset,
                          int64_t step, int64_t n, int64_t eps_term, int32_t shift, int8_t *out, int64_t ldout);
void ew_rms_norm_wide_s16_s16(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier,
                              const int64_t *offset, int64_t step, int64_t n, int64_t eps_term, int32_t shift,
                              int16_t *out, int64_t ldout);

/* One row of softmax, exactly; in place allowed. 1 <= n <= 2^15, 1 <= multiplier < 2^16, 1 <= shift <= 47. */
void ew_softmax_s16(const int16_t *x, int64_t n, int32_t multiplier, int32_t shift, int16_t *out);

/* out[i] = table[x[i]+128]; in place allowed. */
void ew_table_s8(const int8_t *x, const int8_t *table, int64_t n, int8_t *out);

/* requantise with factors per column, exactly for |acc + bias| < 2^27, 2^15 <= multiplier < 2^16, 1 <= shift <= 47,
 * |zero_point| < 2^15. */
void ew_requantise_s8(const int32_t *acc, const int32_t *multiplier, const int32_t *shift, int64_t n, int32_t zero_point,
                      int8_t *out);
void ew_requantise_s16(const int32_t *acc, const int32_t *multiplier, const int32_t *shift, int64_t n,
                       int32_t zero_point, int16_t *out);
void ew_requantise_bias_s8(const int32_t *acc, const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                           int64_t n, int32_t zero_point, int8_t *out);
void ew_requantise_bias_s16(const int32_t *acc, const int32_t *bias, const int32_t *multiplier, const int32_t *shift,
                            int64_t n, int32_t zero_point, int16_t *out);

/* The same for m rows of an accumulator tile: what depends on the column alone is prepared once. */
void ew_requantise_tile_s8(const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias, const int32_t *multiplier,
                           const int32_t *shift, int64_t n, int32_t zero_point, int8_t *out, int64_t ldout);
void ew_requantise_tile_s16(const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias, const int32_t *multiplier,
                            const int32_t *shift, int64_t n, int32_t zero_point, int16_t *out, int64_t ldout);

/* sat16(requantise(a) + requantise(b)), exactly; in place allowed. */
void ew_add_requantised_s16(const int16_t *a, const int16_t *b, int64_t n, int32_t ma, int32_t sa, int32_t mb, int32_t sb,
                            int16_t *out);

/* row = exp(scale*(row - max)), *sum = its total; relative error of an entry <= 2e-7 + that of its argument. -inf gives
 * 0; scale > 0; n >= 1. Not normalised. */
void ew_softmax_f32(float *row, int64_t n, float scale, float *sum);

/* One row: (x - mean) / sqrt(variance + epsilon) * gamma + beta; in place allowed. */
void ew_layer_norm_f32(const float *x, const float *gamma, const float *beta, int64_t n, float epsilon, float *out);

/* One row: x / sqrt(mean of squares + epsilon) * gamma; in place allowed. */
void ew_rms_norm_f32(const float *x, const float *gamma, int64_t n, float epsilon, float *out);

/* Functions of one value, in place allowed. Absolute error <= 4e-7 * max(1, |result|, |x|); exp: relative 2e-7. */
void ew_gelu_f32(const float *x, int64_t n, float *out);
void ew_gelu_tanh_f32(const float *x, int64_t n, float *out);
void ew_sigmoid_f32(const float *x, int64_t n, float *out);
void ew_silu_f32(const float *x, int64_t n, float *out);
void ew_tanh_f32(const float *x, int64_t n, float *out);
void ew_erf_f32(const float *x, int64_t n, float *out);
void ew_exp_f32(const float *x, int64_t n, float *out);

/* A line of output pixels of a depthwise convolution on a padded image, channels last:
 * out[p*channels+c] = bias[c] + sum_t x[p*step+offsets[t]+c] * w[t*channels+c], exact in int32 for bytes, whose weights
 * are in [-127, 127]. taps >= 1. Fastest where 3, 5 or 7 successive taps are `step` apart. */
void ew_depthwise_line_f32(const float *x, const int64_t *offsets, int64_t taps, int64_t step, const float *w,
                           const float *bias, int64_t channels, int64_t pixels, float *out);
void ew_depthwise_line_s8(const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step, const int8_t *w,
                          const int32_t *bias, int64_t channels, int64_t pixels, int32_t *out);

/* Queues of a mixture of experts: row i of logits (rows, experts), rows ld elements apart, is sent to the k experts of
 * the largest logits, of equal ones to the lower. Their shares are the softmax over these k, with `whole` over all
 * experts. place[i*k+j]: where the j-th expert of row i (in the order of the experts) has the row in its queue,
 * gate[i*k+j] its share; queues follow each other, token[place]: the row. tasks[0]: how many tasks, then (expert, first
 * place, places) of each, at most `most` places and of one expert; rows*k / most + min(experts, rows*k) tasks at most.
 * work: 3 * experts elements. Integers: the shares are exact. */
void ew_route_f32(const float *logits, int64_t ld, int64_t rows, int32_t experts, int32_t k, int32_t whole, int32_t most,
                  int32_t *tasks, int32_t *work, int32_t *token, int32_t *place, float *gate);
void ew_route_s16(const int16_t *logits, int64_t ld, int64_t rows, int32_t experts, int32_t k, int32_t whole, int32_t most,
                  int32_t multiplier, int32_t shift, int32_t *tasks, int32_t *work, int32_t *token, int32_t *place,
                  int16_t *gate);

enum { EW_GELU = 1, EW_GELU_TANH, EW_SILU, EW_SIGMOID, EW_TANH, EW_RELU, EW_HARD_SWISH };

/* out[place] = w2 f(w1 x[token[place]] + b1) + b2 of the place's expert, for the tasks of one of `parts` parts. shape: d,
 * h, o, f (above, 0: none), parts, most. Weights: panels of ew_pack_b_f32 of each expert; biases and rows of out are whole
 * panels wide. work: most * (d + h in whole panels) elements. */
void ew_experts_f32(const int32_t *tasks, int32_t part, const float *x, int64_t ldx, const int32_t *token,
                    const int64_t *shape, const float *w1, const float *b1, const float *w2, const float *b2, float *work,
                    float *out);

/* The same in integers, exactly. factors: bias, multiplier and shift of each column, in three rows for an expert. shape
 * continues: zero point of the hidden values, bytes of a packed tile of rows d and h long. work: a tile of accumulators,
 * most / MR of the larger packed tiles, MR * d and most * h (in whole panels), each in whole 64 bytes, all 64-byte aligned. */
void ew_experts_s8(const int32_t *tasks, int32_t part, const int8_t *x, int64_t ldx, const int32_t *token,
                   const int64_t *shape, const int8_t *w1, const int32_t *factors1, const int8_t *w2,
                   const int32_t *factors2, const int8_t *table, int8_t *work, int16_t *out);

/* out = sum_j gate[j] * values[place[j]*ld:] over k places; integers: round_shift of it by 7, exactly. */
void ew_combine_f32(const float *values, int64_t ld, const int32_t *place, const float *gate, int32_t k, int64_t n,
                    float *out);
void ew_combine_s16(const int16_t *values, int64_t ld, const int32_t *place, const int16_t *gate, int32_t k, int64_t n,
                    int32_t *out);

/* Attention by codes, one head. Codes are +1 and -1; each four bits make a quad, in quads[t*Q+q], Q = ceil(bits / 4).
 * table[(q*16+x)*ld:] and weight[q*16+x]: the sum that four bits x select of all values, and of all keys; `total`: plus
 * (bits + 1) times the sum of all values in the first quad's. ld: the width in whole vectors of 4-byte lanes. */
void ew_hash_tables_f32(const float *codes, int64_t ldc, const float *v, int64_t ldv, int64_t tokens, int32_t bits,
                        int64_t width, int32_t total, uint8_t *quads, float *table, int32_t *weight);

/* The same of bytes, exactly; ld: in whole 16 elements. work: Q * 16 * ld elements. */
void ew_hash_tables_s8(const int8_t *codes, int64_t ldc, const int8_t *v, int64_t ldv, int64_t tokens, int32_t bits,
                       int64_t width, int32_t total, uint8_t *quads, int32_t *table, int32_t *weight, int16_t *work);

/* Rows of the result: the sum that their quads select, divided by their weight; own: if not NULL, (bits + 1) times these
 * values are added. */
void ew_hash_rows_f32(const uint8_t *quads, int64_t rows, int32_t bits, const float *table, const int32_t *weight,
                      int64_t width, const float *own, int64_t ldv, float *out, int64_t ldout);

/* The same for integers with attention_normalise, exactly. */
void ew_hash_rows_s8(const uint8_t *quads, int64_t rows, int32_t bits, const int32_t *table, const int32_t *weight,
                     int64_t width, const int8_t *own, int64_t ldv, int32_t *out, int64_t ldout);

/* Codes of rows of one head: shape: width, supports, bits. Panels of anchors / sigma and of coefficients, squares of the
 * anchors times half = 1 / (2 sigma), in whole panels. work: MR * (supports in whole panels + NR) elements. */
void ew_hash_codes_f32(const float *u, int64_t ldu, int32_t rows, const int64_t *shape, float half, const float *anchors,
                       const float *squares, const float *coefficients, const float *threshold, float *work, float *out,
                       int64_t ldout);

/* The same in integers, exactly. shape: width, bits, pairs of supports, ld, elements of a panel of anchors, multiplier,
 * shift, bytes of packed rows in whole 64, columns in whole panels. offset: ld offsets, then S8_OFFSET times the sums of
 * the anchors. ld: at least 2 * pairs and the panels' columns, in whole vectors. coefficients: pair by pair, two for each
 * bit; bits and threshold in whole vectors. threshold: less 2^14 times the sum of the bit's coefficients. work: the packed
 * rows and MR * ld * 6 bytes. */
void ew_hash_codes_s8(const int8_t *u, int64_t ldu, int32_t rows, const int64_t *shape, const int8_t *anchors,
                      const int32_t *offset, const int16_t *coefficients, const int32_t *threshold, int8_t *work,
                      int8_t *out, int64_t ldout);

#ifdef __cplusplus
}
#endif
#endif
