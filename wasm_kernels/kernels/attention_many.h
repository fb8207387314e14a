/* Attention of a tile of queries, one query a lane (RV_NV * VL lanes): nothing is ever reduced across lanes.
 *   queries_t (dim, lanes)   scores, extra (keys of a tile, lanes)   out_t (dim_value, lanes)   top, sum, defect (lanes)
 * A defect is 0, or NaN once a dot product of its query was not finite; it is added to what the query gives.
 * Keys and values are read where they lie; only the queries are transposed, once. */
#ifndef RV_ATTENTION_MANY_H
#define RV_ATTENTION_MANY_H

typedef struct {
  float *queries_t, *scores, *extra, *out_t, *top, *sum, *defect;
} rv_many_scratch;

RV_INLINE rv_many_scratch many_scratch(float *scratch, int64_t dim, int64_t dim_value) {
  rv_many_scratch s;
  s.queries_t = scratch;
  s.scores = s.queries_t + RV_LANES * dim;
  s.extra = s.scores + RV_LANES * RV_KEY_TILE;
  s.out_t = s.extra + RV_LANES * RV_KEY_TILE;
  s.top = s.out_t + RV_LANES * dim_value;
  s.sum = s.top + RV_LANES;
  s.defect = s.sum + RV_LANES;
  return s;
}

/* The maximum of each lane over the lines, times scale; what is not finite becomes a defect. */
RV_INLINE void many_maximum(const float *scores, int64_t n, int nv, float scale, float *defects, float *maximum) {
  for (int v = 0; v < nv; v++) {
    /* four chains, for one would wait for its own last step */
    vf best[4], defect[4];
  RV_UNROLL for (int c = 0; c < 4; c++) best[c] = v_set(RV_LOWEST), defect[c] = v_zero();
    const float *line = scores + v * VL;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4, line += 4 * RV_LANES) {
      RV_UNROLL for (int c = 0; c < 4; c++) {
        const vf score = v_load(line + c * RV_LANES);
        best[c] = v_max(best[c], score);
        defect[c] = v_fma(score, v_zero(), defect[c]);
      }
    }
    for (; j < n; j++, line += RV_LANES) {
      best[0] = v_max(best[0], v_load(line));
      defect[0] = v_fma(v_load(line), v_zero(), defect[0]);
    }
    const vf all = v_max(v_max(best[0], best[1]), v_max(best[2], best[3]));
    const vf found = v_add(v_add(defect[0], defect[1]), v_add(defect[2], defect[3]));
    const vf scaled = v_mul(all, v_set(scale));
    v_store(maximum + v * VL, scaled);
    v_store(defects + v * VL, v_fma(scaled, v_zero(), v_add(v_load(defects + v * VL), found)));
  }
}

/* What a tile of queries keeps by lane beside the queries: the aux of each segment, hashes for dropout. */
typedef struct {
  float aux[RV_MAX_SEGMENTS * RV_LANES];
  uint32_t hashes[RV_LANES];
} rv_lanes;

RV_INLINE float aux_of(const float *aux, int64_t row, int64_t at, int64_t segment) {
  return aux ? aux[at * row + segment] : 0.0f;
}

RV_INLINE void lane_aux(rv_lanes *lanes, const rv_head *head, const float *aux, int64_t row, int64_t first, int64_t n) {
  for (int64_t s = 0; s < head->n_segments; s++)
    for (int64_t i = 0; i < RV_LANES; i++) lanes->aux[s * RV_LANES + i] = i < n ? aux_of(aux, row, first + i, s) : 0.0f;
}

RV_INLINE void lanes_begin(rv_lanes *lanes, const rv_head *head, int64_t first, int64_t n) {
  lane_aux(lanes, head, head->query_aux, head->query_aux_row, first, n);
  if (head->drop.threshold > 0)
    for (int64_t i = 0; i < RV_LANES; i++) lanes->hashes[i] = query_hash(&head->drop, first + i);
}

/* Dot products, or squared distances, of rows of a with columns of b_t (dim, lanes) in one segment's channels. */
RV_INLINE void raw_segment(const rv_head *head, int64_t segment, int64_t rows, int nv, const float *a, int64_t a_row,
                           const float *b_t, float *raw) {
  const rv_segment at = head->segments[segment];
  const float *b = b_t + at.begin * RV_LANES;
  if (at.kind == RV_DOT) dots_by_rows(rows, nv, at.end - at.begin, a + at.begin, a_row, b, raw);
  else differences_by_rows(rows, at.end - at.begin, a + at.begin, a_row, b, raw);
}

/* The bias of a tile with queries for lanes: transposed into `room`, or where it lies if it repeats. */
RV_INLINE void bias_for_queries(const rv_head *head, int64_t first, int64_t n, int64_t key, int64_t keys, float *room,
                                rv_scoring *with) {
  const float *bias = head->bias + first * head->bias_row + key * head->bias_col;
  with->bias = bias;
  with->bias_line = head->bias_col;
  with->bias_lane = head->bias_row;
  if (head->bias_row == 0 || head->bias_col == 0) return;
  if (head->bias_col == 1) transpose(n, keys, bias, head->bias_row, room, RV_LANES);
  else
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < keys; j++) room[j * RV_LANES + i] = bias[i * head->bias_row + j * head->bias_col];
  with->bias = room;
  with->bias_line = RV_LANES;
  with->bias_lane = 1;
}

/* The scores of the walk's tile. Answers 1 if they are still to be multiplied by the head's scale, 0 if they are done
 * and may be -inf. `maximum` of each lane, scale included, unless NULL; `defect` becomes NaN for what is not finite. */
static int many_scores(const rv_head *head, const rv_lanes *lanes, const rv_walk *walk, int64_t first, int64_t n, int nv,
                       const float *queries_t, float *scores, float *extra, float *defect, float *maximum) {
  const int64_t key = walk->key, keys = walk->keys;
  const float *rows = head->keys + key * head->key_row;
  uint64_t words[RV_KEY_TILE];
  float key_time[RV_KEY_TILE], query_time[RV_LANES], unused[RV_LANES];
  rv_scoring with = {.scale = head->scale};
  if (head->n_segments == 0) {
    dots_by_rows(keys, nv, head->dim, rows, head->key_row, queries_t, scores);
    many_maximum(scores, keys, nv, head->scale, defect, maximum ? maximum : unused);
  }
  for (int64_t s = 0; s < head->n_segments; s++) {
    raw_segment(head, s, keys, nv, rows, head->key_row, queries_t, extra);
    for (int64_t j = 0; j < keys; j++)
      space_line(head->segments + s, head->spaces + s, head->scale, extra + j * RV_LANES, nv,
                 aux_of(head->key_aux, head->key_aux_row, key + j, s), lanes->aux + s * RV_LANES,
                 scores + j * RV_LANES, s == 0, defect);
    with.scale = 1;
  }
  with.words = words_for_queries(head, walk, first, n, words);
  with.word_line = 1;
  if (!with.words && !head->bias && !head->query_time && head->n_segments == 0 && head->scale > 0) return 1;
  if (head->bias) bias_for_queries(head, first, n, key, keys, extra, &with);
  if (head->query_time) {
    for (int64_t j = 0; j < keys; j++) key_time[j] = (float)(head->key_time[key + j] - head->key_time[key]);
    for (int64_t i = 0; i < RV_LANES; i++)
      query_time[i] = i < n ? (float)(head->query_time[first + i] - head->key_time[key]) : 0.0f;
    with.decay = head->decay;
    with.rate = head->rate * (float)RV_LOG2E;
    with.line_time = key_time;
    with.lane_time = query_time;
  }
  score_tile(&with, scores, RV_LANES, keys, n, nv, maximum);
  return 0;
}

/* A fused multiply-add takes the rounded maximum from exact products, which differ from it by half of its last place: a
 * factor that all weights share, until it leaves what exp2 can give. Of scores this large the products are rounded first. */
static const float RV_LARGE_SCORE = 1 << 20;

/* What scores are still to be multiplied by: `factor`, or 1 once that is done, where any `shift` is large. */
RV_INLINE vf factor_left(float *line, int64_t n, vf factor, vf shift) {
  const vf limit = v_set(RV_LARGE_SCORE);
  if (!v_any_lt(limit, shift) && !v_any_lt(shift, v_sub(v_zero(), limit))) return factor;
  for (int64_t j = 0; j < n; j++, line += RV_LANES) v_store(line, v_mul(v_load(line), factor));
  return v_set(1);
}

/* How far a score may rise above `top`, in powers of two, before sums and outputs are brought to a new one: weights of
 * 2^8 lose nothing, and after the first tile next to nothing has to be brought. */
static const float RV_HEADROOM = 8.0f;

/* scores -> weights relative to top; answers whether any top rose. correction: 2^(old - new). plain: no score is -inf. */
RV_INLINE int many_softmax(rv_many_scratch *s, int64_t n, int nv, float scale, const int plain, const float *maximum,
                           float *correction) {
  int rose = 0;
  for (int v = 0; v < nv; v++) {
    const vf old = v_load(s->top + v * VL), highest = v_load(maximum + v * VL);
    const vf top = v_where_lt(v_add(old, v_set(RV_HEADROOM)), highest, highest, old);
    const vf shift = v_sub(v_zero(), top);
    vf sum = v_zero();
    float *line = s->scores + v * VL;
    const vf factor = plain ? factor_left(line, n, v_set(scale), shift) : v_set(scale);
    for (int64_t j = 0; j < n; j++, line += RV_LANES) {
      const vf power = v_fma(v_load(line), factor, shift), weight = plain ? v_exp2_floored(power) : v_exp2(power);
      v_store(line, weight);
      sum = v_add(sum, weight);
    }
    const vf change = v_exp2(v_sub(old, top));
    v_store(correction + v * VL, change);
    v_store(s->top + v * VL, top);
    v_store(s->sum + v * VL, v_fma(v_load(s->sum + v * VL), change, sum));
    rose |= v_any_lt(old, top);
  }
  return rose;
}

RV_INLINE void many_rescale(float *out_t, int64_t dim_value, int nv, const float *correction) {
  for (int64_t c = 0; c < dim_value; c++)
    for (int v = 0; v < nv; v++) {
      float *p = out_t + c * RV_LANES + v * VL;
      v_store(p, v_mul(v_load(p), v_load(correction + v * VL)));
    }
}

/* What dropout multiplies the weights that stay by. */
RV_INLINE float keep_factor(const rv_head *head) { return head->drop.threshold > 0 ? head->drop.inverse : 1.0f; }

/* out rows from out_t columns, divided by the sums; answers whether all of it is finite. */
RV_INLINE int many_finish(rv_many_scratch *s, int64_t n, int nv, const rv_head *head, float *out, int64_t out_row,
                          float *lse) {
  const int64_t dim_value = head->dim_value;
  const vf factor = v_set(keep_factor(head));
  vf defects = v_zero();
  for (int v = 0; v < nv; v++) {
    const vf sum = v_load(s->sum + v * VL), defect = v_load(s->defect + v * VL);
    const vf inverse = v_add(v_where_lt(v_zero(), sum, v_div(factor, sum), v_zero()), defect);
    defects = v_add(defects, defect);
    for (int64_t c = 0; c < dim_value; c++) {
      float *p = s->out_t + c * RV_LANES + v * VL;
      const vf value = v_mul(v_load(p), inverse);
      defects = v_fma(value, v_zero(), defects);
      v_store(p, value);
    }
  }
  transpose(dim_value, n, s->out_t, RV_LANES, out, out_row);
  if (lse)
    for (int64_t i = 0; i < n; i++) lse[i] = log_sum_exp(s->top[i], s->sum[i]) + s->defect[i];
  return v_hsum(defects) == 0;
}

#endif
