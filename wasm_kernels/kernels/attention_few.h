/* Attention of fewer queries than lanes: keys and values are read once, in order, and the time is the memory's.
 * One key is a lane of the softmax, one channel a lane of the products; RV_FEW queries share each load.
 *   scores (queries, RV_KEY_TILE)   acc (queries, dim_value)   top, sum (queries) */
#ifndef RV_ATTENTION_FEW_H
#define RV_ATTENTION_FEW_H

enum { RV_FEW = 4, RV_TILE_VECTORS = RV_KEY_TILE / VL };

/* Rows to come are fetched ahead: keys and values pass once, and it is memory that is waited for.
 * scores[q, j] = <query q, key j> for nq queries and nk keys (multiples of four, or clamped to the last key). */
RV_INLINE void few_dots(const int nq, const int nk, int64_t dim, const float *query, int64_t query_row,
                        const float *const *key, float *scores) {
  vf acc[4][8];
  RV_UNROLL for (int q = 0; q < nq; q++)
    RV_UNROLL for (int j = 0; j < nk; j++) acc[q][j] = v_zero();
  int64_t d = 0;
  for (; d + VL <= dim; d += VL) {
    vf queries[4];
    RV_UNROLL for (int q = 0; q < nq; q++) queries[q] = v_load(query + q * query_row + d);
    RV_UNROLL for (int j = 0; j < nk; j++) {
      const vf keys = v_load(key[j] + d);
      __builtin_prefetch(key[j] + d + nk * dim);
      RV_UNROLL for (int q = 0; q < nq; q++) acc[q][j] = v_fma(queries[q], keys, acc[q][j]);
    }
  }
  if (d < dim) {
    RV_UNROLL for (int j = 0; j < nk; j++) {
      const vf keys = v_load_n(key[j] + d, dim - d);
      RV_UNROLL for (int q = 0; q < nq; q++)
        acc[q][j] = v_fma(v_load_n(query + q * query_row + d, dim - d), keys, acc[q][j]);
    }
  }
  RV_UNROLL for (int q = 0; q < nq; q++)
    RV_UNROLL for (int j = 0; j < nk; j += 4)
      v_hsum4(scores + q * RV_KEY_TILE + j, acc[q][j], acc[q][j + 1], acc[q][j + 2], acc[q][j + 3]);
}

RV_INLINE void few_scores_of(const int nq, const int nk, int64_t n, int64_t dim, const float *query,
                             int64_t query_row, const float *keys, int64_t key_row, float *scores) {
  for (int64_t j = 0; j < n; j += nk) {
    const float *key[8];
    for (int i = 0; i < nk; i++) key[i] = keys + (j + i < n ? j + i : n - 1) * key_row;
    few_dots(nq, nk, dim, query, query_row, key, scores + j);
  }
}

static void few_scores(int64_t nq, int64_t n, int64_t dim, const float *query, int64_t query_row, const float *keys,
                       int64_t key_row, float *scores) {
  switch (nq) {
    case 1: few_scores_of(1, 8, n, dim, query, query_row, keys, key_row, scores); break;
    case 2: few_scores_of(2, 4, n, dim, query, query_row, keys, key_row, scores); break;
    case 3: few_scores_of(3, 4, n, dim, query, query_row, keys, key_row, scores); break;
    default: few_scores_of(4, 4, n, dim, query, query_row, keys, key_row, scores);
  }
}

/* acc[q, :] += sum_j weights[q, j] * values[j, :], for rows longer than registers hold. A few rows of values are read at
 * a time from end to end, as streams; acc stays in the first cache level. */
enum { RV_STREAMS = 8 };

RV_INLINE void few_wide_values(const int nq, int64_t n, int64_t dim_value, const float *weights, const float *values,
                             int64_t value_row, float *acc) {
  for (int64_t j = 0; j < n; j += RV_STREAMS) {
    const float *row[RV_STREAMS];
    vf weight[4][RV_STREAMS];
    RV_UNROLL for (int r = 0; r < RV_STREAMS; r++) {
      const int64_t at = j + r < n ? j + r : n - 1;
      row[r] = values + at * value_row;
      RV_UNROLL for (int q = 0; q < nq; q++) weight[q][r] = v_set(j + r < n ? weights[q * RV_KEY_TILE + at] : 0.0f);
    }
    int64_t c = 0;
    for (; c + VL <= dim_value; c += VL) {
      vf sum[4];
      RV_UNROLL for (int q = 0; q < nq; q++) sum[q] = v_load(acc + q * dim_value + c);
      RV_UNROLL for (int r = 0; r < RV_STREAMS; r++) {
        const vf value = v_load(row[r] + c);
        __builtin_prefetch(row[r] + c + RV_STREAMS * value_row);
        RV_UNROLL for (int q = 0; q < nq; q++) sum[q] = v_fma(weight[q][r], value, sum[q]);
      }
      RV_UNROLL for (int q = 0; q < nq; q++) v_store(acc + q * dim_value + c, sum[q]);
    }
    if (c == dim_value) continue;
    const int64_t tail = dim_value - c;
    RV_UNROLL for (int q = 0; q < nq; q++) {
      vf sum = v_load_n(acc + q * dim_value + c, tail);
      RV_UNROLL for (int r = 0; r < RV_STREAMS; r++) sum = v_fma(weight[q][r], v_load_n(row[r] + c, tail), sum);
      v_store_n(acc + q * dim_value + c, sum, tail);
    }
  }
}

/* acc[q, :] += sum_j weights[q, j] * values[j, :], with all of acc in registers where it is at most `wide` vectors. */
RV_INLINE void few_values_of(const int nq, const int wide, int64_t n, int64_t dim_value, const float *weights,
                             const float *values, int64_t value_row, float *acc) {
  if (dim_value > wide * VL) {
    few_wide_values(nq, n, dim_value, weights, values, value_row, acc);
    return;
  }
  int64_t c = 0;
  for (; c + wide * VL <= dim_value; c += wide * VL)
    micro_by_rows(nq, wide, n, weights, RV_KEY_TILE, values + c, value_row, acc + c, dim_value, 1);
  for (; c + VL <= dim_value; c += VL)
    micro_by_rows(nq, 1, n, weights, RV_KEY_TILE, values + c, value_row, acc + c, dim_value, 1);
  if (c == dim_value) return;
  const int64_t tail = dim_value - c;
  RV_UNROLL for (int q = 0; q < nq; q++) {
    vf sum = v_load_n(acc + q * dim_value + c, tail);
    for (int64_t j = 0; j < n; j++)
      sum = v_fma(v_set(weights[q * RV_KEY_TILE + j]), v_load_n(values + j * value_row + c, tail), sum);
    v_store_n(acc + q * dim_value + c, sum, tail);
  }
}

static void few_values(int64_t nq, int64_t n, int64_t dim_value, const float *weights, const float *values,
                       int64_t value_row, float *acc) {
  switch (nq) {
    case 1: few_values_of(1, 8, n, dim_value, weights, values, value_row, acc); break;
    case 2: few_values_of(2, 4, n, dim_value, weights, values, value_row, acc); break;
    case 3: few_values_of(3, 2, n, dim_value, weights, values, value_row, acc); break;
    default: few_values_of(4, 2, n, dim_value, weights, values, value_row, acc);
  }
}

/* One line of scores -> weights; top and sum move on, acc is brought to the new maximum. */
static void few_softmax(float *line, float *top, float *sum, float *acc, int64_t dim_value, int nv) {
  vf best = v_set(*top);
  for (int v = 0; v < nv; v++) best = v_max(best, v_load(line + v * VL));
  const float maximum = v_hmax(best);
  const vf shift = v_set(maximum);
  vf total = v_zero();
  for (int v = 0; v < nv; v++) {
    const vf weight = v_exp2(v_sub(v_load(line + v * VL), shift));
    v_store(line + v * VL, weight);
    total = v_add(total, weight);
  }
  if (maximum > *top) {
    float lanes[VL];
    v_store(lanes, v_exp2(v_set(*top - maximum)));
    *sum *= lanes[0];
    for (int64_t c = 0; c < dim_value; c++) acc[c] *= lanes[0];
    *top = maximum;
  }
  *sum += v_hsum(total);
}

/* line[j] = |query - key j|^2 over `dim` channels, from the differences (see differences_by_rows). */
static void few_differences(int64_t n, int64_t dim, const float *query, const float *keys, int64_t key_row, float *line) {
  for (int64_t j = 0; j < n; j += 4) {
    vf acc[4];
    const float *key[4];
    for (int i = 0; i < 4; i++) key[i] = keys + (j + i < n ? j + i : n - 1) * key_row, acc[i] = v_zero();
    int64_t d = 0;
    for (; d + VL <= dim; d += VL) {
      RV_UNROLL for (int i = 0; i < 4; i++) {
        const vf difference = v_sub(v_load(query + d), v_load(key[i] + d));
        acc[i] = v_fma(difference, difference, acc[i]);
      }
    }
    if (d < dim) {
      RV_UNROLL for (int i = 0; i < 4; i++) {
        const vf difference = v_sub(v_load_n(query + d, dim - d), v_load_n(key[i] + d, dim - d));
        acc[i] = v_fma(difference, difference, acc[i]);
      }
    }
    v_hsum4(line + j, acc[0], acc[1], acc[2], acc[3]);
  }
}

RV_INLINE float *zero_behind(float *line, int64_t n) {
  for (int64_t lane = n; lane < (n + VL - 1) / VL * VL; lane++) line[lane] = 0;
  return line;
}

/* Raw scores of `group` queries from `query` against the tile of keys: lines (queries, RV_KEY_TILE). */
static void few_raw(const rv_head *head, int64_t query, int64_t group, int64_t key, int64_t keys, float *lines,
                    float *extra, float *defect) {
  const float *queries = head->query + query * head->query_row, *rows = head->keys + key * head->key_row;
  const int nv = (int)((keys + VL - 1) / VL);
  if (head->n_segments == 0) {
    few_scores(group, keys, head->dim, queries, head->query_row, rows, head->key_row, lines);
    for (int64_t i = 0; i < group; i++)
      defect[i] += line_defect(zero_behind(lines + i * RV_KEY_TILE, keys), nv);
  }
  for (int64_t s = 0; s < head->n_segments; s++) {
    const rv_segment at = head->segments[s];
    float aux[RV_KEY_TILE], lane_defect[RV_KEY_TILE];
    for (int64_t j = 0; j < nv * VL; j++) aux[j] = j < keys ? aux_of(head->key_aux, head->key_aux_row, key + j, s) : 0;
    for (int64_t i = 0; i < group; i++) {
      const float *row = queries + i * head->query_row + at.begin;
      if (at.kind == RV_DOT)
        few_scores(1, keys, at.end - at.begin, row, 0, rows + at.begin, head->key_row, extra);
      else
        few_differences(keys, at.end - at.begin, row, rows + at.begin, head->key_row, extra);
      for (int v = 0; v < nv; v++) v_store(lane_defect + v * VL, v_zero());
      space_line(&at, head->spaces + s, head->scale, zero_behind(extra, keys), nv,
                 aux_of(head->query_aux, head->query_aux_row, query + i, s), aux, lines + i * RV_KEY_TILE, s == 0,
                 lane_defect);
      for (int64_t j = 0; j < keys; j++) defect[i] += lane_defect[j];
    }
  }
}

/* How one query's line is scored, without its times. */
RV_INLINE rv_scoring line_scoring(const rv_head *head, int64_t query, int64_t key, const uint64_t *words) {
  return (rv_scoring){
      .scale = head->n_segments ? 1.0f : head->scale,
      .bias = head->bias ? head->bias + query * head->bias_row + key * head->bias_col : NULL,
      .bias_lane = head->bias_col,
      .words = words,
  };
}

RV_INLINE void times_for_keys(const rv_head *head, int64_t query, int64_t key, int64_t keys, rv_scoring *with,
                              float *line_time, float *lane_time) {
  *line_time = (float)(head->query_time[query] - head->key_time[key]);
  for (int64_t j = 0; j < RV_KEY_TILE; j++)
    lane_time[j] = j < keys ? (float)(head->key_time[key + j] - head->key_time[key]) : 0.0f;
  with->decay = head->decay;
  with->rate = head->rate * (float)RV_LOG2E;
  with->line_time = line_time;
  with->lane_time = lane_time;
}

static void few_score(const rv_head *head, int64_t query, int64_t key, int64_t keys, const uint64_t *bits, float *line,
                      int nv) {
  uint64_t words[RV_LINE_WORDS];
  float line_time, lane_time[RV_KEY_TILE];
  words_for_keys(head, query, key, keys, bits, words);
  rv_scoring with = line_scoring(head, query, key, words);
  if (head->query_time) times_for_keys(head, query, key, keys, &with, &line_time, lane_time);
  score_tile(&with, line, RV_KEY_TILE, 1, keys, nv, NULL);
}

#endif
