/* Attention of a tile of queries, one query a lane (RV_NV * VL lanes): nothing is ever reduced across lanes.
 *   queries_t (dim, lanes)   scores (keys of a tile, lanes)   out_t (dim_value, lanes)   top, sum, defect (lanes)
 * A defect is 0, or NaN once a dot product of its query was not finite; it is added to what the query gives.
 * Keys and values are read where they lie; only the queries are transposed, once. */
#ifndef RV_ATTENTION_MANY_H
#define RV_ATTENTION_MANY_H

typedef struct {
  float *queries_t, *scores, *out_t, *top, *sum, *defect;
} rv_many_scratch;

RV_INLINE rv_many_scratch many_scratch(float *scratch, int64_t dim, int64_t dim_value) {
  rv_many_scratch s;
  s.queries_t = scratch;
  s.scores = s.queries_t + RV_LANES * dim;
  s.out_t = s.scores + RV_LANES * RV_KEY_TILE;
  s.top = s.out_t + RV_LANES * dim_value;
  s.sum = s.top + RV_LANES;
  s.defect = s.sum + RV_LANES;
  return s;
}

/* The maximum of each lane over the lines, times scale; what is not finite becomes a defect. */
RV_INLINE void many_maximum(const rv_many_scratch *s, int64_t n, int nv, float scale, float *maximum) {
  for (int v = 0; v < nv; v++) {
    /* four chains, for one would wait for its own last step */
    vf best[4], defect[4];
  RV_UNROLL for (int c = 0; c < 4; c++) best[c] = v_set(RV_LOWEST), defect[c] = v_zero();
    const float *line = s->scores + v * VL;
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
    const vf defects = v_add(v_add(defect[0], defect[1]), v_add(defect[2], defect[3]));
    v_store(maximum + v * VL, v_mul(all, v_set(scale)));
    v_store(s->defect + v * VL, v_add(v_load(s->defect + v * VL), defects));
  }
}

/* The same for scores that a mask has been through: -inf is no defect. */
RV_INLINE void many_masked_maximum(const rv_many_scratch *s, int64_t n, int nv, float *maximum) {
  for (int v = 0; v < nv; v++) {
    vf best = v_set(RV_LOWEST);
    for (int64_t j = 0; j < n; j++) best = v_max(best, v_load(s->scores + j * RV_LANES + v * VL));
    v_store(maximum + v * VL, best);
  }
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
    const vf shift = v_sub(v_zero(), top), factor = v_set(scale);
    vf sum = v_zero();
    float *line = s->scores + v * VL;
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

/* out rows from out_t columns, divided by the sums; answers whether all of it is finite. */
RV_INLINE int many_finish(rv_many_scratch *s, int64_t n, int nv, int64_t dim_value, float *out, int64_t out_row,
                          float *lse) {
  vf defects = v_zero();
  for (int v = 0; v < nv; v++) {
    const vf sum = v_load(s->sum + v * VL), defect = v_load(s->defect + v * VL);
    const vf inverse = v_add(v_where_lt(v_zero(), sum, v_div(v_set(1.0f), sum), v_zero()), defect);
    defects = v_add(defects, defect);
    for (int64_t c = 0; c < dim_value; c++) {
      float *p = s->out_t + c * RV_LANES + v * VL;
      const vf value = v_mul(v_load(p), inverse);
      defects = v_fma(value, v_zero(), defects);
      v_store(p, value);
    }
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < dim_value; c++) out[i * out_row + c] = s->out_t[c * RV_LANES + i];
  if (lse)
    for (int64_t i = 0; i < n; i++) lse[i] = log_sum_exp(s->top[i], s->sum[i]) + s->defect[i];
  return v_hsum(defects) == 0;
}

#endif
