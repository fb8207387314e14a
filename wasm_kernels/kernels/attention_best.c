/* Attention of each query to its top_k highest scores alone, chosen and read in one go: no list is written down.
 *   query (batch, n_query, heads, dim)  keys, values (batch, n_key, kv_heads, dim | dim_value)  any strides
 *   out (batch, n_query, heads, dim_value)  weights (batch, heads, n_query, n_key)
 * RV_SELECT_ROWS queries have all their scores at a time, as in attention_top_k, and choose as it does. */

/* The softmax of the n chosen scores of a row, one behind the other in `line`. */
static void weigh_chosen(const float *row, const int64_t *indices, int64_t n, float *line) {
  float top = -__builtin_inff();
  for (int64_t e = 0; e < n; e++) top = row[indices[e]] > top ? row[indices[e]] : top;
  for (int64_t e = 0; e < n; e++) line[e] = (row[indices[e]] - top) * (float)RV_LOG2E;
  softmax_row(line, n, 0);
}

static int32_t rv_attention_best(const rv_attention_best_args *args) {
  if (!RV_HEADS_AGREE(args) || !RV_SCORES_AGREE(args)) return RV_BAD_ARGUMENT;
  const int64_t blocks = (args->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK, n_key = args->n_key;
  if (args->stop > args->batch * args->heads * blocks || args->top_k < 1 || (args->out && !args->values))
    return RV_BAD_ARGUMENT;
  int64_t *indices = (int64_t *)args->scratch;
  float *line = (float *)(args->scratch + args->top_k), *rows = line + args->top_k;
  float *room = rows + RV_SELECT_ROWS * n_key, *scratch = room + n_key;
  float bad = 0;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t item = task / blocks, b = item / args->heads, h = item % args->heads;
    rv_head head = RV_HEAD(args, b, h);
    RV_HEAD_SCORED(head, args, b, h);
    const int64_t value_at = b * args->value_batch + h / (args->heads / args->kv_heads) * args->value_head;
    const int64_t begin = task % blocks * RV_QUERY_BLOCK;
    const int64_t end = begin + rv_min_int(RV_QUERY_BLOCK, args->n_query - begin);
    for (int64_t first = begin; first < end; first += RV_SELECT_ROWS) {
      const int64_t n = rv_min_int(RV_SELECT_ROWS, end - first);
      float defect[RV_SELECT_ROWS] = {0};
      plain_rows(head, args->scale, args->decay, first, n, n_key, rows, defect, scratch);
      for (int64_t i = 0; i < n; i++) {
        const float *row = rows + i * n_key;
        const int64_t taken = select_row(row, room, defect[i] == 0 ? head.n_key : 0, args->top_k, indices);
        weigh_chosen(row, indices, taken, line);
        bad += defect[i];
        if (args->weights) {
          float *weights = args->weights + (item * args->n_query + first + i) * n_key;
          memset(weights, 0, sizeof(float) * (size_t)n_key);
          for (int64_t e = 0; e < taken; e++) weights[indices[e]] = line[e];
        }
        if (!args->out) continue;
        float *out = args->out + b * args->out_batch + h * args->out_head + (first + i) * args->out_row;
        memset(out, 0, sizeof(float) * (size_t)args->dim_value);
        for (int64_t e = 0; e < taken; e++)
          add_scaled(line[e], args->values + value_at + indices[e] * args->value_row, out, args->dim_value);
        for (int64_t c = 0; c < args->dim_value; c++) bad += out[c] * 0.0f;
      }
    }
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}
