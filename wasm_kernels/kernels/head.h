/* One head of one batch item as plain pointers, and which keys its queries may see. */
#ifndef RV_HEAD_H
#define RV_HEAD_H

/* Keys begin .. end of the `runs` buffer; bits: -1, or where the words of its keys begin. */
typedef struct {
  int64_t begin, end, bits;
} rv_run;

typedef struct {
  const float *query, *keys, *values, *bias;
  const uint8_t *mask;
  int64_t n_query, n_key, dim, dim_value;
  int64_t query_row, key_row, value_row, mask_row, mask_col, bias_row, bias_col;
  /* query i stands at key i + offset and sees `behind` keys before it, `ahead` after it, and the first `globals` */
  int64_t offset, behind, ahead, globals;
  float scale;
  /* what the everyday call does without */
  int64_t tile_rows, n_segments, query_aux_row, key_aux_row;
  const int64_t *tile_indptr;
  const rv_run *runs;
  const uint64_t *run_bits;
  const rv_segment *segments;
  const rv_space *spaces;
  const float *query_aux, *key_aux;
  const double *query_time, *key_time;
  float decay, rate;
  rv_dropout drop;
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
    .offset = (args)->n_key - (args)->n_query, .behind = (args)->behind, .ahead = (args)->ahead,                     \
    .globals = (args)->global_tokens, .scale = (float)((args)->scale * RV_LOG2E),                                    \
  }

/* The rest, for kernels that have RV_SCORE_INTS. */
#define RV_HEAD_SCORED(head, args, b, h)                                                                             \
  do {                                                                                                               \
    (head).tile_rows = (args)->tile_indptr ? (args)->tile_rows : 0;                                                  \
    (head).tile_indptr = (args)->tile_indptr;                                                                        \
    (head).runs = (const rv_run *)(args)->runs;                                                                      \
    (head).run_bits = (const uint64_t *)(args)->run_bits;                                                            \
    (head).n_segments = (args)->n_segments;                                                                          \
    (head).segments = (const rv_segment *)(args)->segments;                                                          \
    (head).spaces = (const rv_space *)(args)->spaces;                                                                \
    (head).query_aux_row = (args)->query_aux_row;                                                                    \
    (head).key_aux_row = (args)->key_aux_row;                                                                        \
    if ((args)->query_aux) (head).query_aux = (args)->query_aux + (b) * (args)->query_aux_batch + (h) * (args)->query_aux_head; \
    if ((args)->key_aux)                                                                                             \
      (head).key_aux = (args)->key_aux + (b) * (args)->key_aux_batch +                                               \
                       (h) / ((args)->heads / (args)->kv_heads) * (args)->key_aux_head;                              \
    if ((args)->query_time && (args)->key_time) {                                                                    \
      (head).query_time = (args)->query_time + (b) * (args)->query_time_batch;                                       \
      (head).key_time = (args)->key_time + (b) * (args)->key_time_batch;                                             \
    }                                                                                                                \
    (head).decay = (float)((args)->decay * RV_LOG2E);                                                                \
    (head).rate = (float)(args)->decay_rate;                                                                         \
    if ((args)->dropout > 0)                                                                                         \
      (head).drop = dropout_of((args)->dropout, (args)->seed, (args)->item + (b) * (args)->heads + (h));             \
  } while (0)

#define RV_HEADS_AGREE(args)                                                                                         \
  ((args)->heads > 0 && (args)->kv_heads > 0 && (args)->heads % (args)->kv_heads == 0 &&                             \
   rv_lengths_agree((args)->key_lengths, (args)->batch, (args)->n_key))

#define RV_SCORES_AGREE(args)                                                                                        \
  (tiles_fit((args)->tile_indptr, (const rv_run *)(args)->runs, (args)->run_bits != NULL, (args)->tile_rows,         \
             (args)->n_query, (args)->n_key, (args)->n_runs, (args)->n_bits) &&                                      \
   segments_fit((const rv_segment *)(args)->segments, (const rv_space *)(args)->spaces, (args)->n_segments,          \
                (args)->dim) &&                                                                                      \
   (args)->dropout >= 0 && (args)->dropout < 1 && (args)->decay_rate >= 0)

static int rv_lengths_agree(const int64_t *lengths, int64_t batch, int64_t n_key) {
  if (lengths)
    for (int64_t b = 0; b < batch; b++)
      if (lengths[b] < 0 || lengths[b] > n_key) return 0;
  return 1;
}

static int tiles_fit(const int64_t *indptr, const rv_run *runs, int has_bits, int64_t tile_rows, int64_t n_query,
                     int64_t n_key, int64_t n_runs, int64_t n_bits) {
  if (!indptr) return 1;
  if (tile_rows < 1 || tile_rows > 64 || (n_runs > 0 && !runs)) return 0;
  const int64_t n = (n_query + tile_rows - 1) / tile_rows;
  if (indptr[0] != 0 || indptr[n] > n_runs) return 0;
  for (int64_t t = 0; t < n; t++)
    if (indptr[t] > indptr[t + 1]) return 0;
  for (int64_t r = 0; r < n_runs; r++) {
    const rv_run run = runs[r];
    if (run.begin < 0 || run.begin > run.end || run.end > n_key) return 0;
    if (run.bits >= 0 && (!has_bits || run.bits > n_bits || run.end - run.begin > n_bits - run.bits)) return 0;
  }
  return 1;
}

RV_INLINE int64_t within(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

RV_INLINE int is_global(const rv_head *head, int64_t query) {
  const int64_t at = query + head->offset;
  return at >= 0 && at < head->globals;
}

/* Queries of the tile that begins at `first`, at most `most`: it ends where global queries begin or end, and with its
 * tile row. */
RV_INLINE int64_t tile_queries(const rv_head *head, int64_t first, int64_t end, int64_t most) {
  const int64_t begins = -head->offset, ends = head->globals - head->offset;
  if (head->globals > 0 && first < begins && begins < end) end = begins;
  if (head->globals > 0 && first < ends && ends < end) end = ends;
  if (head->tile_rows) {
    const int64_t row_end = (first / head->tile_rows + 1) * head->tile_rows;
    if (row_end < end) end = row_end;
  }
  return end - first < most ? end - first : most;
}

/* A walk over the tiles of keys that some of `n` queries from `first` may see. The runs of a band are at most two, the
 * global keys and the window; a tile of queries holds either none but global ones or none of them. */
typedef struct {
  const rv_run *run, *end;
  rv_run band[2];
  int64_t key, keys; /* the tile at hand */
} rv_walk;

RV_INLINE void walk_begin(rv_walk *walk, const rv_head *head, int64_t first, int64_t n) {
  walk->key = -1;
  if (head->tile_rows) {
    const int64_t *at = head->tile_indptr + first / head->tile_rows;
    walk->run = head->runs + at[0];
    walk->end = head->runs + at[1];
    return;
  }
  const int64_t at = first + head->offset, last = at + n - 1;
  const int64_t end = within(last + head->ahead + 1, 0, head->n_key), begin = within(at - head->behind, 0, end);
  const int64_t far_end = head->ahead == 0 ? end : head->n_key; /* for what sees beyond the window, unless causal */
  const int64_t globals = is_global(head, first) ? far_end : within(head->globals, 0, far_end);
  int n_runs = 0;
  if (globals > 0) walk->band[n_runs++] = (rv_run){0, globals, -1};
  if (end > globals) walk->band[n_runs++] = (rv_run){begin > globals ? begin : globals, end, -1};
  walk->run = walk->band;
  walk->end = walk->band + n_runs;
}

/* On to the next tile: whether there is one. */
RV_INLINE int walk_next(rv_walk *walk, const rv_head *head) {
  if (walk->key >= 0) walk->key += walk->keys;
  for (; walk->run < walk->end; walk->run++, walk->key = -1) {
    const int64_t end = walk->run->end < head->n_key ? walk->run->end : head->n_key;
    if (walk->key < 0) walk->key = walk->run->begin;
    if (walk->key >= end) continue;
    walk->keys = rv_min_int(RV_KEY_TILE, end - walk->key);
    return 1;
  }
  return 0;
}

/* The words of the run's keys from the tile's first, or NULL where every pair is allowed. */
RV_INLINE const uint64_t *walk_bits(const rv_walk *walk, const rv_head *head) {
  return walk->run->bits < 0 ? NULL : head->run_bits + walk->run->bits + (walk->key - walk->run->begin);
}

/* Lane limits of the band: line l may see lanes lo + l .. hi + l; `far` away where it forbids nothing. */
typedef struct {
  int64_t lo, hi;
} rv_cut;

enum { RV_FAR = 1 << 22 };

RV_INLINE rv_cut band_cut(const rv_head *head, int64_t first, int64_t key, int keys_are_lines) {
  if (head->tile_rows) return (rv_cut){-RV_FAR, RV_FAR};
  const int everything_behind = is_global(head, first) || key < head->globals;
  const int64_t diagonal = first + head->offset - key;
  const int64_t behind = everything_behind || head->behind > RV_FAR ? 2 * RV_FAR : head->behind;
  const int64_t ahead = head->ahead > RV_FAR || (everything_behind && head->ahead > 0) ? 2 * RV_FAR : head->ahead;
  return (rv_cut){within(keys_are_lines ? -diagonal - ahead : diagonal - behind, -RV_FAR, RV_FAR),
                  within(keys_are_lines ? behind - diagonal : diagonal + ahead, -RV_FAR, RV_FAR)};
}

/* Lanes are queries `first`..: a word for each key of the tile; NULL where nothing is forbidden. */
RV_INLINE const uint64_t *words_for_queries(const rv_head *head, const rv_walk *walk, int64_t first, int64_t n,
                                            uint64_t *words) {
  const int64_t key = walk->key, keys = walk->keys;
  const rv_cut cut = band_cut(head, first, key, 1);
  const uint64_t *bits = walk_bits(walk, head);
  if (!head->mask && !bits && cut.lo + keys - 1 <= 0 && cut.hi >= n - 1) return NULL;
  for (int64_t j = 0; j < keys; j++) words[j] = bits_between(cut.lo + j, cut.hi + j, 0);
  if (bits)
    for (int64_t j = 0; j < keys; j++) words[j] &= bits[j] >> (first % head->tile_rows);
  if (head->mask)
    allow_columns(words, head->mask + first * head->mask_row + key * head->mask_col, head->mask_row, head->mask_col, n,
                  keys);
  return words;
}

/* Lanes are keys key .. key + keys: the words of one query; bits: the words of the keys, or NULL. */
RV_INLINE void words_for_keys(const rv_head *head, int64_t query, int64_t key, int64_t keys, const uint64_t *bits,
                              uint64_t *words) {
  const rv_cut cut = band_cut(head, query, key, 0);
  for (int64_t w = 0; w * 64 < keys; w++) words[w] = bits_between(cut.lo, cut.hi, w * 64) & bits_below(keys - w * 64);
  if (bits) {
    const int64_t bit = query % head->tile_rows;
    for (int64_t w = 0; w * 64 < keys; w++) {
      uint64_t word = 0;
      for (int64_t j = w * 64; j < rv_min_int(keys, w * 64 + 64); j++) word |= (bits[j] >> bit & 1) << (j % 64);
      words[w] &= word;
    }
  }
  if (head->mask) allow_row(words, head->mask + query * head->mask_row + key * head->mask_col, head->mask_col, keys);
}

#endif
