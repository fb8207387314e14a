/* Attention of fewer queries than lanes: keys and values are read once, in order, and the time is the memory's.
 * One key is a lane of the softmax, one channel a lane of the products; RV_FEW queries share each load.
 *   queries (queries, dim)   scores (queries, RV_KEY_TILE)   acc, part (queries, dim_value)   top, sum (queries) */
#ifndef RV_ATTENTION_FEW_H
#define RV_ATTENTION_FEW_H

enum { RV_FEW = 4, RV_TILE_VECTORS = RV_KEY_TILE / VL };

typedef struct {
  float *scores, *extra, *queries, *acc, *part;
} rv_few_scratch;

enum { RV_LONG = 256, RV_LINE = 16 }; /* floats of a row from which on rows are read one by one; of a cache line */

RV_INLINE int64_t line_place(const float *p) { return (int64_t)((uintptr_t)p / sizeof(float) % RV_LINE); }

/* Floats of a row before its first whole vector in memory: where a vector is as long as a cache line, every load from
 * elsewhere costs two. For one query alone: of several, the loads and stores that count are those of queries and sums. */
RV_INLINE int64_t line_lead(const int nq, const float *row) {
  return nq == 1 && sizeof(vf) == RV_LINE * sizeof(float) ? (RV_LINE - line_place(row)) % RV_LINE : 0;
}

/* The n queries are copied to the beginning of a line, and sums begin there; a single query and its sum lie at the same
 * place of a line as long rows do. */
RV_INLINE rv_few_scratch few_scratch(float *scratch, const rv_head *head, int64_t n) {
  rv_few_scratch s;
  s.scores = scratch + (RV_LINE - line_place(scratch));
  s.extra = s.scores + VL * RV_KEY_TILE;
  s.acc = s.extra + RV_KEY_TILE;
  float *part = s.acc + VL * head->dim_value, *queries = part + RV_FEW * head->dim_value + 2 * RV_LINE;
  s.part = part + (RV_LINE - line_place(part));
  s.queries = queries + (RV_LINE - line_place(queries));
  if (n == 1) s.part += line_place(head->values);
  if (n == 1 && head->dim >= RV_LONG) s.queries += line_place(head->keys);
  return s;
}

/* scores[q, j] = <query q, key j> for nq queries and nk keys (multiples of four, or clamped to the last key). The keys
 * to come are fetched from the second cache level meanwhile. */
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

/* The same for four long keys, each read to its end before the next: memory delivers one stream at full speed, and
 * several beside each other at a third of it, since prefetchers follow only the first. */
RV_INLINE void few_long_dots(const int nq, int64_t dim, const float *query, int64_t query_row, const float *const *key,
                             float *scores) {
  const int chains = nq == 1 ? 4 : 2;
  vf sum[4][4];
  for (int j = 0; j < 4; j++) {
    vf acc[4][4];
    RV_UNROLL for (int q = 0; q < nq; q++)
      RV_UNROLL for (int u = 0; u < chains; u++) acc[q][u] = v_zero();
    int64_t d = line_lead(nq, key[j]);
    if (d > 0) {
      const vf keys = v_load_n(key[j], d);
      RV_UNROLL for (int q = 0; q < nq; q++) acc[q][0] = v_fma(v_load_n(query + q * query_row, d), keys, acc[q][0]);
    }
    for (; d + chains * VL <= dim; d += chains * VL) {
      RV_UNROLL for (int u = 0; u < chains; u++) {
        const vf keys = v_load(key[j] + d + u * VL);
        RV_UNROLL for (int q = 0; q < nq; q++)
          acc[q][u] = v_fma(v_load(query + q * query_row + d + u * VL), keys, acc[q][u]);
      }
    }
    for (; d < dim; d += VL) {
      const int64_t n = rv_min_int(VL, dim - d);
      const vf keys = v_load_n(key[j] + d, n);
      RV_UNROLL for (int q = 0; q < nq; q++) acc[q][0] = v_fma(v_load_n(query + q * query_row + d, n), keys, acc[q][0]);
    }
    RV_UNROLL for (int q = 0; q < nq; q++) {
      sum[q][j] = v_add(acc[q][0], acc[q][1]);
      if (chains == 4) sum[q][j] = v_add(sum[q][j], v_add(acc[q][2], acc[q][3]));
    }
  }
  RV_UNROLL for (int q = 0; q < nq; q++)
    v_hsum4(scores + q * RV_KEY_TILE, sum[q][0], sum[q][1], sum[q][2], sum[q][3]);
}

RV_INLINE void few_scores_of(const int nq, const int nk, int64_t n, int64_t dim, const float *query,
                             int64_t query_row, const float *keys, int64_t key_row, float *scores) {
  const float *key[8];
  if (dim >= RV_LONG) {
    for (int64_t j = 0; j < n; j += 4) {
      for (int i = 0; i < 4; i++) key[i] = keys + (j + i < n ? j + i : n - 1) * key_row;
      few_long_dots(nq, dim, query, query_row, key, scores + j);
    }
    return;
  }
  for (int64_t j = 0; j < n; j += nk) {
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

/* acc[q, :] += sum_j weights[q, j] * values[j, :], for rows longer than registers hold: row after row, as for keys. The
 * sum over the tile grows in `part` (queries, dim_value), in the first cache level, and is added to acc at the end. */
RV_INLINE void few_long_values(const int nq, int64_t n, int64_t dim_value, const float *weights, const float *values,
                               int64_t value_row, float *acc, float *part) {
  memset(part, 0, sizeof(float) * (size_t)(nq * dim_value));
  for (int64_t j = 0; j < n; j++, values += value_row) {
    vf weight[4];
    RV_UNROLL for (int q = 0; q < nq; q++) weight[q] = v_set(weights[q * RV_KEY_TILE + j]);
    int64_t c = line_lead(nq, values);
    if (c > 0) v_store_n(part, v_fma(weight[0], v_load_n(values, c), v_load_n(part, c)), c);
    for (; c + 4 * VL <= dim_value; c += 4 * VL) {
      RV_UNROLL for (int u = 0; u < 4; u++) {
        const vf value = v_load(values + c + u * VL);
        RV_UNROLL for (int q = 0; q < nq; q++) {
          float *p = part + q * dim_value + c + u * VL;
          v_store(p, v_fma(weight[q], value, v_load(p)));
        }
      }
    }
    for (; c < dim_value; c += VL) {
      const int64_t tail = rv_min_int(VL, dim_value - c);
      const vf value = v_load_n(values + c, tail);
      RV_UNROLL for (int q = 0; q < nq; q++) {
        float *p = part + q * dim_value + c;
        v_store_n(p, v_fma(weight[q], value, v_load_n(p, tail)), tail);
      }
    }
  }
  for (int64_t i = 0; i < nq * dim_value; i++) acc[i] += part[i];
}

/* The same for a single query and rows that are in a cache: eight side by side share the loads and stores of `part`. */
RV_INLINE void few_side_by_side(int64_t n, int64_t dim_value, const float *weights, const float *values,
                                int64_t value_row, float *acc, float *part) {
  for (int64_t j = 0; j < n; j += 8) {
    const float *row[8];
    vf weight[8];
    RV_UNROLL for (int r = 0; r < 8; r++) {
      const int64_t at = j + r < n ? j + r : n - 1;
      row[r] = values + at * value_row;
      weight[r] = v_set(j + r < n ? weights[at] : 0.0f);
    }
    for (int64_t c = 0; c < dim_value; c += VL) {
      vf sum = j > 0 ? v_load(part + c) : v_zero();
      RV_UNROLL for (int r = 0; r < 8; r++) sum = v_fma(weight[r], v_load(row[r] + c), sum);
      v_store(part + c, sum);
    }
  }
  for (int64_t c = 0; c < dim_value; c += VL) v_store(acc + c, v_add(v_load(acc + c), v_load(part + c)));
}

/* acc[q, :] += sum_j weights[q, j] * values[j, :], up to `wide` vectors of acc at a time in registers. */
RV_INLINE void few_values_of(const int nq, const int wide, int64_t n, int64_t dim_value, const float *weights,
                             const float *values, int64_t value_row, float *acc, float *part) {
  if (dim_value >= RV_LONG) {
    few_long_values(nq, n, dim_value, weights, values, value_row, acc, part);
    return;
  }
  if (nq == 1 && VL == 4 && dim_value > wide * VL && dim_value % VL == 0) {
    few_side_by_side(n, dim_value, weights, values, value_row, acc, part);
    return;
  }
  int64_t c = 0;
  for (; c + wide * VL <= dim_value; c += wide * VL)
    micro_by_rows(nq, wide, n, weights, RV_KEY_TILE, values + c, value_row, acc + c, dim_value, 1);
  /* half as many, rather than one sum at a time that waits for its own last step */
  for (; VL > 4 && c + wide / 2 * VL <= dim_value; c += wide / 2 * VL)
    micro_by_rows(nq, wide / 2, n, weights, RV_KEY_TILE, values + c, value_row, acc + c, dim_value, 1);
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
                       int64_t value_row, float *acc, float *part) {
  switch (nq) {
    case 1: few_values_of(1, 8, n, dim_value, weights, values, value_row, acc, part); break;
    case 2: few_values_of(2, 4, n, dim_value, weights, values, value_row, acc, part); break;
    case 3: few_values_of(3, 2, n, dim_value, weights, values, value_row, acc, part); break;
    default: few_values_of(4, 2, n, dim_value, weights, values, value_row, acc, part);
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

/* Raw scores of `group` queries (group, dim), the first being number `query`, against the tile of keys:
 * lines (queries, RV_KEY_TILE). */
static void few_raw(const rv_head *head, const float *queries, int64_t query, int64_t group, int64_t key, int64_t keys,
                    float *lines, float *extra, float *defect) {
  const float *rows = head->keys + key * head->key_row;
  const int nv = (int)((keys + VL - 1) / VL);
  if (head->n_segments == 0) {
    few_scores(group, keys, head->dim, queries, head->dim, rows, head->key_row, lines);
    for (int64_t i = 0; i < group; i++)
      defect[i] += line_defect(zero_behind(lines + i * RV_KEY_TILE, keys), nv, head->scale);
  }
  for (int64_t s = 0; s < head->n_segments; s++) {
    const rv_segment at = head->segments[s];
    float aux[RV_KEY_TILE], lane_defect[RV_KEY_TILE];
    for (int64_t j = 0; j < nv * VL; j++) aux[j] = j < keys ? aux_of(head->key_aux, head->key_aux_row, key + j, s) : 0;
    for (int64_t i = 0; i < group; i++) {
      const float *row = queries + i * head->dim + at.begin;
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
