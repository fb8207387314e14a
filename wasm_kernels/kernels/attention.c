/* softmax(scale * q kT + bias) v for all batches and heads (online softmax, arXiv:1805.02867; tiles as in
 * FlashAttention, arXiv:2205.14135).
 *   query (batch, n_query, heads, dim)   keys (batch, n_key, kv_heads, dim)   values (batch, n_key, kv_heads, dim_value)
 *   out (batch, n_query, heads, dim_value)   lse (batch, heads, n_query)       -- any strides, last axis contiguous
 * No score matrix exists: a query keeps its maximum, its sum and its output while tiles of keys pass by. */
#include "micro.h"
#include "score.h"
#include "attention_many.h"
#include "attention_few.h"

/* What the two forward kernels share: one head of one batch item, as plain pointers. */
typedef struct {
  const float *query, *keys, *values, *bias;
  const uint8_t *mask;
  int64_t n_query, n_key, dim, dim_value;
  int64_t query_row, key_row, value_row, mask_row, mask_col, bias_row, bias_col;
  /* query i stands at key i + offset and sees `behind` keys before it, `ahead` after it, and the first `globals` */
  int64_t offset, behind, ahead, globals;
  float scale;
} rv_head;

#define RV_HEAD(args, b, h)                                                                                          \
  {                                                                                                                  \
    .query = (args)->query + (b) * (args)->query_batch + (h) * (args)->query_head,                                   \
    .keys = (args)->keys + (b) * (args)->key_batch + (h) / ((args)->heads / (args)->kv_heads) * (args)->key_head,    \
    .bias = (args)->bias ? (args)->bias + (b) * (args)->bias_batch + (h) * (args)->bias_head : NULL,                 \
    .mask = (args)->mask ? (args)->mask + (b) * (args)->mask_batch + (h) * (args)->mask_head : NULL,                 \
    .n_query = (args)->n_query, .n_key = (args)->key_lengths ? (args)->key_lengths[b] : (args)->n_key,               \
    .dim = (args)->dim, .query_row = (args)->query_row, .key_row = (args)->key_row, .mask_row = (args)->mask_row,    \
    .mask_col = (args)->mask_col, .bias_row = (args)->bias_row, .bias_col = (args)->bias_col,                        \
    .offset = (args)->n_key - (args)->n_query, .behind = (args)->behind, .ahead = (args)->ahead,                         \
    .globals = (args)->global_tokens,                                                                                \
    .scale = (float)((args)->scale * RV_LOG2E),                                                                      \
  }

#define RV_HEADS_AGREE(args)                                                                                         \
  ((args)->heads > 0 && (args)->kv_heads > 0 && (args)->heads % (args)->kv_heads == 0 &&                             \
   rv_lengths_agree((args)->key_lengths, (args)->batch, (args)->n_key))

static int rv_lengths_agree(const int64_t *lengths, int64_t batch, int64_t n_key) {
  if (lengths)
    for (int64_t b = 0; b < batch; b++)
      if (lengths[b] < 0 || lengths[b] > n_key) return 0;
  return 1;
}

/* The runs of keys that some of `n` queries from `first` may see: at most two, the global keys and the window. Global
 * queries see everything behind them; a tile of queries holds either none but them or none of them. */
typedef struct {
  int64_t begin, end;
} rv_run;

RV_INLINE int is_global(const rv_head *head, int64_t query) {
  const int64_t at = query + head->offset;
  return at >= 0 && at < head->globals;
}

/* Queries of the tile that begins at `first`, at most `most`: it ends where global queries begin or end. */
RV_INLINE int64_t tile_queries(const rv_head *head, int64_t first, int64_t end, int64_t most) {
  const int64_t begins = -head->offset, ends = head->globals - head->offset;
  if (head->globals > 0 && first < begins && begins < end) end = begins;
  if (head->globals > 0 && first < ends && ends < end) end = ends;
  return end - first < most ? end - first : most;
}

RV_INLINE int64_t within(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

RV_INLINE int visible_runs(const rv_head *head, int64_t first, int64_t n, rv_run runs[2]) {
  const int64_t at = first + head->offset, last = at + n - 1;
  const int64_t end = within(last + head->ahead + 1, 0, head->n_key), begin = within(at - head->behind, 0, end);
  const int64_t far_end = head->ahead == 0 ? end : head->n_key; /* for what sees beyond the window, unless causal */
  const int64_t globals = is_global(head, first) ? far_end : within(head->globals, 0, far_end);
  int n_runs = 0;
  if (globals > 0) runs[n_runs++] = (rv_run){0, globals};
  if (end > globals) runs[n_runs++] = (rv_run){begin > globals ? begin : globals, end};
  return n_runs;
}

/* Whether a tile begins at key j of run r; at the end of a run, on to the next. */
RV_INLINE int next_tile(const rv_run *runs, int n_runs, int64_t *r, int64_t *j) {
  while (*r < n_runs && *j >= runs[*r].end)
    if (++*r < n_runs) *j = runs[*r].begin;
  return *r < n_runs;
}

/* How the epilogue sees queries `first`.. against keys `key`..: lines are keys if `keys_are_lines`. */
RV_INLINE rv_scoring scoring_of(const rv_head *head, int64_t first, int64_t key, int keys_are_lines) {
  rv_scoring with = {.scale = head->scale};
  const int64_t far = 1 << 22; /* beyond every lane, exact as a float */
  const int everything_behind = is_global(head, first) || key < head->globals;
  const int64_t diagonal = first + head->offset - key;
  const int64_t behind = everything_behind || head->behind > far ? 2 * far : head->behind;
  const int64_t ahead = head->ahead > far || (everything_behind && head->ahead > 0) ? 2 * far : head->ahead;
  if (head->mask) with.mask = head->mask + first * head->mask_row + key * head->mask_col;
  if (head->bias) with.bias = head->bias + first * head->bias_row + key * head->bias_col;
  with.mask_line = keys_are_lines ? head->mask_col : head->mask_row;
  with.mask_lane = keys_are_lines ? head->mask_row : head->mask_col;
  with.bias_line = keys_are_lines ? head->bias_col : head->bias_row;
  with.bias_lane = keys_are_lines ? head->bias_row : head->bias_col;
  with.lo = within(keys_are_lines ? -diagonal - ahead : diagonal - behind, -far, far);
  with.hi = within(keys_are_lines ? behind - diagonal : diagonal + ahead, -far, far);
  with.has_band = with.lo > -far || with.hi < far;
  return with;
}

/* Whether the band of a tile of lines x lanes forbids anything. */
RV_INLINE int band_cuts(const rv_scoring *with, int64_t lines, int64_t lanes) {
  return with->has_band && (with->lo + lines - 1 > 0 || with->hi < lanes - 1);
}

static int32_t attend_many(const rv_head *head, int64_t first, int64_t n, float *out, int64_t out_row, float *lse,
                           float *scratch) {
  rv_many_scratch s = many_scratch(scratch, head->dim, head->dim_value);
  const int nv = (int)((n + VL - 1) / VL);
  float maximum[RV_LANES], correction[RV_LANES];
  int started = 0;
  pack_transposed(n, head->dim, head->query + first * head->query_row, head->query_row, s.queries_t, RV_LANES);
  for (int v = 0; v < nv; v++) {
    v_store(s.top + v * VL, v_set(RV_LOWEST));
    v_store(s.sum + v * VL, v_zero());
    v_store(s.defect + v * VL, v_zero());
  }
  rv_run runs[2] = {{0, 0}, {0, 0}};
  const int n_runs = visible_runs(head, first, n, runs);
  for (int64_t r = 0, j = runs[0].begin; next_tile(runs, n_runs, &r, &j); j += RV_KEY_TILE) {
    const int64_t keys = rv_min_int(RV_KEY_TILE, runs[r].end - j);
    dots_by_rows(keys, nv, head->dim, head->keys + j * head->key_row, head->key_row, s.queries_t, s.scores);
    rv_scoring with = scoring_of(head, first, j, 1);
    with.has_band = band_cuts(&with, keys, n);
    const float scale = with.scale;
    many_maximum(&s, keys, nv, scale, maximum);
    int rose;
    if (with.mask || with.bias || with.has_band || scale <= 0) {
      for (int64_t line = 0; line < keys; line++) score_line(&with, s.scores + line * RV_LANES, line, n, nv);
      many_masked_maximum(&s, keys, nv, maximum);
      rose = many_softmax(&s, keys, nv, 1, 0, maximum, correction);
    } else {
      rose = many_softmax(&s, keys, nv, scale, 1, maximum, correction);
    }
    if (rose && started) many_rescale(s.out_t, head->dim_value, nv, correction);
    panel_by_columns(head->dim_value, nv, keys, head->values + j * head->value_row, head->value_row, s.scores, RV_LANES,
                     s.out_t, RV_LANES, started);
    started = 1;
  }
  if (!started) memset(s.out_t, 0, sizeof(float) * (size_t)(RV_LANES * head->dim_value));
  return many_finish(&s, n, nv, head->dim_value, out, out_row, lse) ? RV_OK : RV_NON_FINITE;
}

static int32_t attend_few(const rv_head *head, int64_t first, int64_t n, float *out, int64_t out_row, float *lse,
                          float *scratch) {
  float *scores = scratch, *acc = scores + VL * RV_KEY_TILE, top[VL], sum[VL], defect[VL];
  const int64_t dim_value = head->dim_value;
  const float *query = head->query + first * head->query_row;
  rv_run runs[2] = {{0, 0}, {0, 0}};
  const int n_runs = visible_runs(head, first, n, runs);
  memset(acc, 0, sizeof(float) * (size_t)(n * dim_value));
  for (int64_t q = 0; q < n; q++) top[q] = RV_LOWEST, sum[q] = 0, defect[q] = 0;
  for (int64_t r = 0, j = runs[0].begin; next_tile(runs, n_runs, &r, &j); j += RV_KEY_TILE) {
    const int64_t keys = rv_min_int(RV_KEY_TILE, runs[r].end - j);
    const int nv = (int)((keys + VL - 1) / VL);
    const rv_scoring with = scoring_of(head, first, j, 0);
    for (int64_t q = 0; q < n; q += RV_FEW) {
      const int64_t group = rv_min_int(RV_FEW, n - q);
      float *lines = scores + q * RV_KEY_TILE;
      few_scores(group, keys, head->dim, query + q * head->query_row, head->query_row, head->keys + j * head->key_row,
                 head->key_row, lines);
      for (int64_t i = 0; i < group; i++) {
        float *line = lines + i * RV_KEY_TILE;
        for (int64_t lane = keys; lane < nv * VL; lane++) line[lane] = 0;
        defect[q + i] += line_defect(line, nv);
        score_line(&with, line, q + i, keys, nv);
        few_softmax(line, top + q + i, sum + q + i, acc + (q + i) * dim_value, dim_value, nv);
      }
      few_values(group, keys, dim_value, lines, head->values + j * head->value_row, head->value_row,
                 acc + q * dim_value);
    }
  }
  float bad = 0;
  for (int64_t q = 0; q < n; q++) {
    const float inverse = (sum[q] > 0 ? 1.0f / sum[q] : 0.0f) + defect[q];
    bad += defect[q];
    for (int64_t c = 0; c < dim_value; c++) {
      out[q * out_row + c] = acc[q * dim_value + c] * inverse;
      bad += out[q * out_row + c] * 0.0f;
    }
    if (lse) lse[q] = log_sum_exp(top[q], sum[q]) + defect[q];
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

static int32_t rv_attention(const rv_attention_args *args) {
  if (!RV_HEADS_AGREE(args)) return RV_BAD_ARGUMENT;
  const int64_t blocks = (args->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (args->stop > args->batch * args->heads * blocks) return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t item = task / blocks, b = item / args->heads, h = item % args->heads;
    rv_head head = RV_HEAD(args, b, h);
    head.values = args->values + b * args->value_batch + h / (args->heads / args->kv_heads) * args->value_head;
    head.value_row = args->value_row;
    head.dim_value = args->dim_value;
    float *out = args->out + b * args->out_batch + h * args->out_head;
    float *lse = args->lse ? args->lse + item * args->n_query : NULL;
    const int64_t begin = task % blocks * RV_QUERY_BLOCK;
    const int64_t end = begin + RV_QUERY_BLOCK < args->n_query ? begin + RV_QUERY_BLOCK : args->n_query;
    for (int64_t i = begin, n; i < end; i += n) {
      n = tile_queries(&head, i, end, RV_LANES);
      if (n < VL)
        status |= attend_few(&head, i, n, out + i * args->out_row, args->out_row, lse ? lse + i : NULL, args->scratch);
      else
        status |= attend_many(&head, i, n, out + i * args->out_row, args->out_row, lse ? lse + i : NULL, args->scratch);
    }
  }
  return status;
}

/* out (n_query, n_key) of one head: dot products by panels of keys, then a softmax along each row. */
static int32_t weigh(const rv_head *head, int64_t first, int64_t last, int64_t n_key, float *out, float *scratch) {
  float *keys_t = scratch, *tile = keys_t + RV_LANES * head->dim;
  const int64_t n = last - first;
  float defect[RV_QUERY_BLOCK], bad = 0;
  memset(defect, 0, sizeof defect);
  for (int64_t j = 0, keys; j < head->n_key; j += keys) {
    keys = rv_min_int(RV_LANES, (j < head->globals && head->globals < head->n_key ? head->globals : head->n_key) - j);
    pack_transposed(keys, head->dim, head->keys + j * head->key_row, head->key_row, keys_t, RV_LANES);
    for (int64_t i = 0; i < n; i += RV_MR) {
      const int rows = rv_min_int(RV_MR, n - i);
      dots_by_rows(rows, RV_NV, head->dim, head->query + (first + i) * head->query_row, head->query_row, keys_t, tile);
      for (int64_t r = 0; r < rows; r++) {
        float *line = tile + r * RV_LANES;
        const rv_scoring with = scoring_of(head, first + i + r, j, 0);
        defect[i + r] += line_defect(line, RV_NV);
        score_line(&with, line, 0, keys, RV_NV);
        memcpy(out + (first + i + r) * n_key + j, line, sizeof(float) * (size_t)keys);
      }
    }
  }
  for (int64_t i = first; i < last; i++) {
    float *row = out + i * n_key;
    vf best = v_set(RV_LOWEST), total = v_zero();
    int64_t j = 0;
    for (; j + VL <= head->n_key; j += VL) best = v_max(best, v_load(row + j));
    float maximum = v_hmax(best), rest = 0;
    for (int64_t t = j; t < head->n_key; t++) maximum = row[t] > maximum ? row[t] : maximum;
    const vf shift = v_set(maximum);
    for (int64_t t = 0; t < j; t += VL) {
      const vf weight = v_exp2(v_sub(v_load(row + t), shift));
      v_store(row + t, weight);
      total = v_add(total, weight);
    }
    for (int64_t t = j; t < head->n_key; t++) {
      float lanes[VL];
      v_store(lanes, v_exp2(v_set(row[t] - maximum)));
      rest += row[t] = lanes[0];
    }
    const float sum = v_hsum(total) + rest, inverse = (sum > 0 ? 1.0f / sum : 0.0f) + defect[i - first];
    bad += defect[i - first];
    for (int64_t t = 0; t < head->n_key; t++) row[t] *= inverse;
    for (int64_t t = head->n_key; t < n_key; t++) row[t] = 0;
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

static int32_t rv_attention_weights(const rv_attention_weights_args *args) {
  if (!RV_HEADS_AGREE(args)) return RV_BAD_ARGUMENT;
  const int64_t blocks = (args->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (args->stop > args->batch * args->heads * blocks) return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t item = task / blocks, b = item / args->heads, h = item % args->heads;
    const rv_head head = RV_HEAD(args, b, h);
    const int64_t first = task % blocks * RV_QUERY_BLOCK;
    const int64_t last = first + RV_QUERY_BLOCK < args->n_query ? first + RV_QUERY_BLOCK : args->n_query;
    status |= weigh(&head, first, last, args->n_key, args->out + item * args->n_query * args->n_key, args->scratch);
  }
  return status;
}
