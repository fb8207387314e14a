/* softmax(scores of q and k) v for all batches and heads (online softmax, arXiv:1805.02867; tiles as in FlashAttention,
 * arXiv:2205.14135).
 *   query (batch, n_query, heads, dim)   keys (batch, n_key, kv_heads, dim)   values (batch, n_key, kv_heads, dim_value)
 *   out (batch, n_query, heads, dim_value)   lse (batch, heads, n_query)       -- any strides, last axis contiguous
 * No score matrix exists: a query keeps its maximum, its sum and its output while tiles of keys pass by. */
#include "micro.h"
#include "score.h"
#include "geometry.h"
#include "random.h"
#include "head.h"
#include "attention_many.h"
#include "attention_few.h"

static int32_t attend_many(const rv_head *head, int64_t first, int64_t n, float *out, int64_t out_row, float *lse,
                           float *scratch) {
  rv_many_scratch s = many_scratch(scratch, head->dim, head->dim_value);
  const int nv = (int)((n + VL - 1) / VL);
  float maximum[RV_LANES], correction[RV_LANES];
  rv_lanes lanes;
  rv_walk walk;
  int started = 0;
  pack_transposed(n, head->dim, head->query + first * head->query_row, head->query_row, s.queries_t);
  lanes_begin(&lanes, head, first, n);
  for (int v = 0; v < nv; v++) {
    v_store(s.top + v * VL, v_set(RV_LOWEST));
    v_store(s.sum + v * VL, v_zero());
    v_store(s.defect + v * VL, v_zero());
  }
  walk_begin(&walk, head, first, n);
  while (walk_next(&walk, head)) {
    const float *values = head->values + walk.key * head->value_row;
    const int plain = many_scores(head, &lanes, &walk, first, n, nv, s.queries_t, s.scores, s.extra, s.defect, maximum);
    const int rose = plain ? many_softmax(&s, walk.keys, nv, head->scale, 1, maximum, correction)
                           : many_softmax(&s, walk.keys, nv, 1, 0, maximum, correction);
    if (rose && started) many_rescale(s.out_t, head->dim_value, nv, correction);
    if (head->drop.threshold > 0) drop_lanes_are_queries(&head->drop, s.scores, walk.keys, nv, walk.key, lanes.hashes);
    panel_by_columns(head->dim_value, nv, walk.keys, values, head->value_row, s.scores, RV_LANES, s.out_t, RV_LANES,
                     started);
    started = 1;
  }
  if (!started) memset(s.out_t, 0, sizeof(float) * (size_t)(RV_LANES * head->dim_value));
  return many_finish(&s, n, nv, head, out, out_row, lse) ? RV_OK : RV_NON_FINITE;
}

static int32_t attend_few(const rv_head *head, int64_t first, int64_t n, float *out, int64_t out_row, float *lse,
                          float *scratch) {
  const int64_t dim = head->dim, dim_value = head->dim_value;
  rv_few_scratch s = few_scratch(scratch, head, n);
  float top[VL], sum[VL], defect[VL];
  rv_walk walk;
  memset(s.acc, 0, sizeof(float) * (size_t)(n * dim_value));
  for (int64_t q = 0; q < n; q++) {
    memcpy(s.queries + q * dim, head->query + (first + q) * head->query_row, sizeof(float) * (size_t)dim);
    top[q] = RV_LOWEST, sum[q] = 0, defect[q] = 0;
  }
  walk_begin(&walk, head, first, n);
  while (walk_next(&walk, head)) {
    const float *values = head->values + walk.key * head->value_row;
    const int nv = (int)((walk.keys + VL - 1) / VL);
    for (int64_t q = 0; q < n; q += RV_FEW) {
      const int64_t group = rv_min_int(RV_FEW, n - q);
      float *lines = s.scores + q * RV_KEY_TILE;
      few_raw(head, s.queries + q * dim, first + q, group, walk.key, walk.keys, lines, s.extra, defect + q);
      for (int64_t i = 0; i < group; i++) {
        float *line = lines + i * RV_KEY_TILE;
        few_score(head, first + q + i, walk.key, walk.keys, walk_bits(&walk, head), line, nv);
        few_softmax(line, top + q + i, sum + q + i, s.acc + (q + i) * dim_value, dim_value, nv);
        if (head->drop.threshold > 0)
          drop_lanes_are_keys(&head->drop, line, nv, walk.key, query_hash(&head->drop, first + q + i));
      }
      few_values(group, walk.keys, dim_value, lines, values, head->value_row, s.acc + q * dim_value, s.part);
    }
  }
  float bad = 0;
  for (int64_t q = 0; q < n; q++) {
    const float inverse = (sum[q] > 0 ? keep_factor(head) / sum[q] : 0.0f) + defect[q];
    bad += defect[q];
    for (int64_t c = 0; c < dim_value; c++) {
      out[q * out_row + c] = s.acc[q * dim_value + c] * inverse;
      bad += out[q * out_row + c] * 0.0f;
    }
    if (lse) lse[q] = log_sum_exp(top[q], sum[q]) + defect[q];
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

/* Queries begin .. end of one head. */
static int32_t attend(const rv_head *head, int64_t begin, int64_t end, float *out, int64_t out_row, float *lse,
                      float *scratch) {
  int32_t status = RV_OK;
  for (int64_t i = begin, n; i < end; i += n) {
    n = tile_queries(head, i, end, RV_LANES);
    status |=
        (n < VL ? attend_few : attend_many)(head, i, n, out + i * out_row, out_row, lse ? lse + i : NULL, scratch);
  }
  return status;
}

#define RV_ATTEND(args, SCORED)                                                                                      \
  const int64_t blocks = ((args)->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;                                    \
  if ((args)->stop > (args)->batch * (args)->heads * blocks) return RV_BAD_ARGUMENT;                                 \
  int32_t status = RV_OK;                                                                                            \
  for (int64_t task = (args)->start; task < (args)->stop; task++) {                                                  \
    const int64_t item = task / blocks, b = item / (args)->heads, h = item % (args)->heads;                          \
    const int64_t begin = task % blocks * RV_QUERY_BLOCK;                                                            \
    rv_head head = RV_HEAD(args, b, h);                                                                              \
    SCORED(head, args, b, h);                                                                                        \
    head.values = (args)->values + b * (args)->value_batch + h / ((args)->heads / (args)->kv_heads) * (args)->value_head; \
    head.value_row = (args)->value_row;                                                                              \
    head.dim_value = (args)->dim_value;                                                                              \
    status |= attend(&head, begin, begin + rv_min_int(RV_QUERY_BLOCK, (args)->n_query - begin),                      \
                     (args)->out + b * (args)->out_batch + h * (args)->out_head, (args)->out_row,                    \
                     (args)->lse ? (args)->lse + item * (args)->n_query : NULL, (args)->scratch);                    \
  }                                                                                                                  \
  return status;

#define RV_NOTHING_MORE(head, args, b, h)

static int32_t rv_attention(const rv_attention_args *args) {
  if (!RV_HEADS_AGREE(args)) return RV_BAD_ARGUMENT;
  RV_ATTEND(args, RV_NOTHING_MORE)
}

static int32_t rv_attention_scored(const rv_attention_scored_args *args) {
  if (!RV_HEADS_AGREE(args) || !RV_SCORES_AGREE(args)) return RV_BAD_ARGUMENT;
  RV_ATTEND(args, RV_HEAD_SCORED)
}

/* ---- the weights alone: scores by panels of keys, then a softmax along each row ---- */

static void softmax_row(float *row, int64_t n, float defect) {
  vf best = v_set(RV_LOWEST), total = v_zero();
  int64_t j = 0;
  for (; j + VL <= n; j += VL) best = v_max(best, v_load(row + j));
  float maximum = v_hmax(best), rest = 0;
  for (int64_t t = j; t < n; t++) maximum = row[t] > maximum ? row[t] : maximum;
  const vf shift = v_set(maximum);
  for (int64_t t = 0; t < j; t += VL) {
    const vf weight = v_exp2(v_sub(v_load(row + t), shift));
    v_store(row + t, weight);
    total = v_add(total, weight);
  }
  for (int64_t t = j; t < n; t++) {
    float lanes[VL];
    v_store(lanes, v_exp2(v_set(row[t] - maximum)));
    rest += row[t] = lanes[0];
  }
  const float sum = v_hsum(total) + rest, inverse = (sum > 0 ? 1.0f / sum : 0.0f) + defect;
  for (int64_t t = 0; t < n; t++) row[t] *= inverse;
}

/* Scores of `rows` queries from `query` against the panel of keys from `key`, lanes of the tile being keys. */
static void weigh_panel(const rv_head *head, int64_t query, int64_t rows, int64_t key, int64_t keys,
                        const float *keys_t, const rv_lanes *lanes, float *tile, float *extra, float *defect) {
  const float *queries = head->query + query * head->query_row;
  if (head->n_segments == 0) {
    dots_by_rows(rows, RV_NV, head->dim, queries, head->query_row, keys_t, tile);
    for (int64_t r = 0; r < rows; r++) defect[r] += line_defect(tile + r * RV_LANES, RV_NV, head->scale);
  }
  for (int64_t s = 0; s < head->n_segments; s++) {
    float lane_defect[RV_LANES];
    raw_segment(head, s, rows, RV_NV, queries, head->query_row, keys_t, extra);
    for (int64_t r = 0; r < rows; r++) {
      for (int v = 0; v < RV_NV; v++) v_store(lane_defect + v * VL, v_zero());
      space_line(head->segments + s, head->spaces + s, head->scale, extra + r * RV_LANES, RV_NV,
                 aux_of(head->query_aux, head->query_aux_row, query + r, s), lanes->aux + s * RV_LANES,
                 tile + r * RV_LANES, s == 0, lane_defect);
      for (int64_t i = 0; i < keys; i++) defect[r] += lane_defect[i];
    }
  }
  for (int64_t r = 0; r < rows; r++) {
    uint64_t words[RV_LINE_WORDS], bits[RV_LANES];
    memset(bits, 0, sizeof bits);
    if (head->tile_rows) {
      const int64_t *at = head->tile_indptr + (query + r) / head->tile_rows;
      for (const rv_run *run = head->runs + at[0]; run < head->runs + at[1]; run++)
        for (int64_t j = within(run->begin, key, key + keys); j < within(run->end, key, key + keys); j++)
          bits[j - key] = run->bits < 0 ? ~(uint64_t)0 : head->run_bits[run->bits + j - run->begin];
    }
    words_for_keys(head, query + r, key, keys, head->tile_rows ? bits : NULL, words);
    rv_scoring with = line_scoring(head, query + r, key, words);
    float line_time, lane_time[RV_KEY_TILE];
    if (head->query_time) times_for_keys(head, query + r, key, keys, &with, &line_time, lane_time);
    score_tile(&with, tile + r * RV_LANES, RV_LANES, 1, keys, RV_NV, NULL);
  }
}

enum { RV_WEIGHED = RV_MR < 4 ? 4 : RV_MR }; /* rows of a panel of scores */

/* Scores of queries first .. last against all keys of the head, rows of `out` n_key apart; defects by query. */
static void score_rows(const rv_head *head, int64_t first, int64_t last, int64_t n_key, float *out, float *defect,
                       float *scratch) {
  float *keys_t = scratch, *tile = keys_t + RV_LANES * head->dim, *extra = tile + RV_LANES * RV_WEIGHED;
  rv_lanes lanes;
  for (int64_t j = 0, keys; j < head->n_key; j += keys) {
    keys = rv_min_int(RV_LANES, (j < head->globals && head->globals < head->n_key ? head->globals : head->n_key) - j);
    pack_transposed(keys, head->dim, head->keys + j * head->key_row, head->key_row, keys_t);
    lane_aux(&lanes, head, head->key_aux, head->key_aux_row, j, keys);
    for (int64_t i = first; i < last; i += RV_WEIGHED) {
      const int rows = rv_min_int(RV_WEIGHED, last - i);
      weigh_panel(head, i, rows, j, keys, keys_t, &lanes, tile, extra, defect + (i - first));
      for (int64_t r = 0; r < rows; r++)
        memcpy(out + (i - first + r) * n_key + j, tile + r * RV_LANES, sizeof(float) * (size_t)keys);
    }
  }
}

/* out (n_query, n_key) of one head. */
static int32_t weigh(const rv_head *head, int64_t first, int64_t last, int64_t n_key, float *out, float *scratch) {
  float defect[RV_QUERY_BLOCK], bad = 0;
  memset(defect, 0, sizeof defect);
  score_rows(head, first, last, n_key, out + first * n_key, defect, scratch);
  for (int64_t i = first; i < last; i++) {
    softmax_row(out + i * n_key, head->n_key, defect[i - first]);
    bad += defect[i - first];
    for (int64_t t = head->n_key; t < n_key; t++) out[i * n_key + t] = 0;
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

static int32_t rv_attention_weights(const rv_attention_weights_args *args) {
  if (!RV_HEADS_AGREE(args) || !RV_SCORES_AGREE(args)) return RV_BAD_ARGUMENT;
  const int64_t blocks = (args->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (args->stop > args->batch * args->heads * blocks) return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t item = task / blocks, b = item / args->heads, h = item % args->heads;
    rv_head head = RV_HEAD(args, b, h);
    RV_HEAD_SCORED(head, args, b, h);
    const int64_t first = task % blocks * RV_QUERY_BLOCK;
    status |= weigh(&head, first, first + rv_min_int(RV_QUERY_BLOCK, args->n_query - first), args->n_key,
                    args->out + item * args->n_query * args->n_key, args->scratch);
  }
  return status;
}

/* ---- the highest scores ---- */

/* The k-th highest of x (n), 1 <= k <= n, by Hoare's selection; x is left in another order. */
static float kth_highest(float *x, int64_t n, int64_t k) {
  int64_t low = 0, high = n - 1;
  while (low < high) {
    const float pivot = x[low + (high - low) / 2];
    int64_t i = low, j = high;
    while (i <= j) {
      while (x[i] > pivot) i++;
      while (x[j] < pivot) j--;
      if (i > j) break;
      const float held = x[i];
      x[i++] = x[j];
      x[j--] = held;
    }
    if (k - 1 <= j)
      high = j;
    else if (k - 1 >= i)
      low = i;
    else
      break;
  }
  return x[k - 1];
}

/* The largest of x (n > 0). */
static float largest(const float *x, int64_t n) {
  vf best = v_set(-__builtin_inff());
  int64_t j = 0;
  for (; j + VL <= n; j += VL) best = v_max(best, v_load(x + j));
  float maximum = v_hmax(best);
  for (; j < n; j++) maximum = x[j] > maximum ? x[j] : maximum;
  return maximum;
}

/* A number that at least k of x (n) reach: the least of the largest of k pieces. */
static float reached(const float *x, int64_t n, int64_t k) {
  float least = largest(x, n / k);
  for (int64_t piece = 1; piece < k; piece++) {
    const int64_t first = piece * n / k;
    const float own = largest(x + first, (piece + 1) * n / k - first);
    least = own < least ? own : least;
  }
  return least;
}

/* Indices of the k highest of a row that are above -inf, ascending; answers how many there are. */
static int64_t select_row(const float *row, float *room, int64_t n, int64_t k, int64_t *indices) {
  const float nothing = -__builtin_inff();
  /* most scores are far below the k-th highest, and need not be sorted among themselves */
  const float bound = n >= 4 * k ? reached(row, n, k) : nothing;
  int64_t seen = 0, taken = 0;
  for (int64_t j = 0; j < n; j++) {
    room[seen] = row[j];
    seen += row[j] >= bound && row[j] > nothing;
  }
  float least = nothing;
  int64_t equals = 0; /* how many of those that equal the least are taken */
  if (seen > k || bound > nothing) {
    least = kth_highest(room, seen, k);
    equals = k;
    for (int64_t j = 0; j < n; j++) equals -= row[j] > least;
  }
  for (int64_t j = 0; j < n; j++)
    if (row[j] > least || (row[j] == least && equals-- > 0)) indices[taken++] = j;
  for (int64_t j = taken; j < k; j++) indices[j] = -1;
  return taken;
}

/* Scores of queries first .. first + n against all keys, not in powers of two as elsewhere, and the bias last: sums that
 * are equal stay so after rounding. */
static void plain_rows(rv_head head, double scale, double decay, int64_t first, int64_t n, int64_t n_key, float *rows,
                       float *defect, float *scratch) {
  const float *bias = head.bias;
  head.bias = NULL;
  head.scale = (float)scale;
  head.decay = (float)decay;
  score_rows(&head, first, first + n, n_key, rows, defect, scratch);
  if (bias)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < head.n_key; j++)
        rows[i * n_key + j] += bias[(first + i) * head.bias_row + j * head.bias_col];
}

static int32_t rv_attention_top_k(const rv_attention_top_k_args *args) {
  if (!RV_HEADS_AGREE(args) || !RV_SCORES_AGREE(args)) return RV_BAD_ARGUMENT;
  const int64_t blocks = (args->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (args->stop > args->batch * args->heads * blocks) return RV_BAD_ARGUMENT;
  float *rows = args->scratch, *room = rows + RV_SELECT_ROWS * args->n_key, *scratch = room + args->n_key;
  float bad = 0;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t item = task / blocks, b = item / args->heads, h = item % args->heads;
    rv_head head = RV_HEAD(args, b, h);
    RV_HEAD_SCORED(head, args, b, h);
    const int64_t begin = task % blocks * RV_QUERY_BLOCK;
    const int64_t end = begin + rv_min_int(RV_QUERY_BLOCK, args->n_query - begin);
    for (int64_t first = begin; first < end; first += RV_SELECT_ROWS) {
      const int64_t n = rv_min_int(RV_SELECT_ROWS, end - first);
      float defect[RV_SELECT_ROWS] = {0};
      plain_rows(head, args->scale, args->decay, first, n, args->n_key, rows, defect, scratch);
      for (int64_t i = 0; i < n; i++) {
        const int64_t query = item * args->n_query + first + i;
        bad += defect[i];
        args->counts[query] = select_row(rows + i * args->n_key, room, defect[i] == 0 ? head.n_key : 0, args->top_k,
                                         args->indices + query * args->top_k);
      }
    }
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}
