/* The weights of attention along lists of keys, computed again from their log-sum-exp.
 *   query (n_query, heads, dim)  keys (n_key, heads, dim)  indptr (n_query + 1)  indices (n_edges)
 *   bias, weights (heads, n_edges)  lse (heads, n_query) */

static int32_t rv_edge_weights(const rv_edge_weights_args *args) {
  const int64_t heads = args->heads, dim = args->dim, n_edges = args->n_edges;
  if (!edges_fit(args->indptr, 1, 0, 1, 0, args->indices, args->n_query, args->n_key, n_edges)) return RV_BAD_ARGUMENT;
  for (int64_t h = 0; h < heads; h++) {
    float *line = args->weights + h * n_edges;
    for (int64_t e = 0; e < n_edges; e++) line[e] = -__builtin_inff(); /* of an edge in no list */
    for (int64_t i = 0; i < args->n_query; i++)
      for (int64_t e = args->indptr[i]; e < args->indptr[i + 1]; e++) {
        const double dot =
            product_of(args->query + (i * heads + h) * dim, args->keys + (args->indices[e] * heads + h) * dim, dim);
        const double bias = args->bias ? (double)args->bias[h * n_edges + e] : 0;
        line[e] = (float)((args->scale * dot + bias - (double)args->lse[h * args->n_query + i]) * (double)RV_LOG2E);
      }
    for (int64_t e = 0; e < n_edges; e += VL) {
      const int64_t rest = n_edges - e;
      if (rest < VL)
        v_store_n(line + e, v_exp2(v_load_n(line + e, rest)), rest);
      else
        v_store(line + e, v_exp2(v_load(line + e)));
    }
  }
  return RV_OK;
}
