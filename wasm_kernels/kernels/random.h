/* Dropout by counting: whether a weight stays is a hash of (seed, head, query, key), so it depends on no order, and the
 * backward pass finds the same again. The mixing function is lowbias32 (Wellons, 2018). */
#ifndef RV_RANDOM_H
#define RV_RANDOM_H

typedef struct {
  float threshold; /* share to drop, in 2^-24ths; 0: none */
  float inverse; /* 1 / (1 - share) */
  uint32_t head; /* hash of seed and head */
} rv_dropout;

RV_INLINE uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

RV_INLINE rv_dropout dropout_of(double share, int64_t seed, int64_t head) {
  const rv_dropout drop = {(float)(share * 16777216.0), (float)(1.0 / (1.0 - share)),
                           mix((uint32_t)seed + (uint32_t)head * 0x9e3779b9u)};
  return drop;
}

RV_INLINE uint32_t query_hash(const rv_dropout *drop, int64_t query) {
  return mix(drop->head + (uint32_t)query * 0x85ebca6bu);
}

/* x, or 0 where the weight of (query hash, key) is dropped. */
RV_INLINE vf kept(const rv_dropout *drop, vi query, vi key, vf x) {
  vi h = query + key * vi_set(0xc2b2ae35u);
  h = (h ^ (h >> 16)) * vi_set(0x7feb352du);
  h = (h ^ (h >> 15)) * vi_set(0x846ca68bu);
  h = h ^ (h >> 16);
  return v_where_lt(vf_of_int(h >> 8), v_set(drop->threshold), v_zero(), x);
}

/* A tile whose lines are keys from `key` and whose lanes are queries, given by their hashes. */
RV_INLINE void drop_lanes_are_queries(const rv_dropout *drop, float *tile, int64_t lines, int nv, int64_t key,
                                      const uint32_t *queries) {
  for (int v = 0; v < nv; v++) {
    const vi query = vi_load(queries + v * VL);
    for (int64_t j = 0; j < lines; j++) {
      float *p = tile + j * RV_LANES + v * VL;
      v_store(p, kept(drop, query, vi_set((uint32_t)(key + j)), v_load(p)));
    }
  }
}

/* One line of weights of a query, its lanes the keys from `key`. */
RV_INLINE void drop_lanes_are_keys(const rv_dropout *drop, float *line, int nv, int64_t key, uint32_t query) {
  for (int v = 0; v < nv; v++) {
    const vi keys = vi_iota() + vi_set((uint32_t)(key + v * VL));
    v_store(line + v * VL, kept(drop, vi_set(query), keys, v_load(line + v * VL)));
  }
}

#endif
