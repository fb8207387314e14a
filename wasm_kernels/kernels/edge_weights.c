/* The weights of attention along lists of keys, computed again from their log-sum-exp: which is a shift near their maximum
 * and no more, for a float of its size says little of their sum where scores are large.
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
    for (int64_t i = 0; i < args->n_query; i++) {
      float top = RV_LOWEST;
      for (int64_t e = args->indptr[i]; e < args->indptr[i + 1]; e++) top = line[e] > top ? line[e] : top;
      for (int64_t e = args->indptr[i]; e < args->indptr[i + 1]; e++) line[e] -= top;
    }
    for (int64_t e = 0; e < n_edges; e += VL) {
      const int64_t rest = n_edges - e;
      if (rest < VL)
        v_store_n(line + e, v_exp2(v_load_n(line + e, rest)), rest);
      else
        v_store(line + e, v_exp2(v_load(line + e)));
    }
    for (int64_t i = 0; i < args->n_query; i++) {
      double sum = 0;
      for (int64_t e = args->indptr[i]; e < args->indptr[i + 1]; e++) sum += (double)line[e];
      const double inverse = sum > 0 ? 1 / sum : sum;
      for (int64_t e = args->indptr[i]; e < args->indptr[i + 1]; e++) line[e] = (float)(line[e] * inverse);
    }
  }
  return RV_OK;
}

/* Lists that share no key, all asked by one query: the softmax of each list, times the share of the list.
 *   query (dim)  keys (n_key, dim)  indptr (n_list + 1)  indices (n_key)  shares (n_list)  weights (n_key), by key */
static int32_t rv_list_weights(const rv_list_weights_args *args) {
  const int64_t n_key = args->n_key, dim = args->dim;
  if (!edges_fit(args->indptr, 1, 0, 1, 0, args->indices, args->n_list, n_key, n_key)) return RV_BAD_ARGUMENT;
  double *scores = args->scratch;
  for (int64_t j = 0; j < n_key; j++) scores[j] = args->scale * product_of(args->query, args->keys + j * dim, dim);
  for (int64_t l = 0; l < args->n_list; l++) {
    const int64_t *first = args->indices + args->indptr[l], *end = args->indices + args->indptr[l + 1];
    double most = (double)RV_LOWEST, sum = 0;
    for (const int64_t *at = first; at < end; at++) most = scores[*at] > most ? scores[*at] : most;
    for (const int64_t *at = first; at < end; at++) {
      float power[VL];
      v_store(power, v_exp2(v_set((float)((scores[*at] - most) * (double)RV_LOG2E))));
      args->weights[*at] = power[0];
      sum += (double)power[0];
    }
    const double share = args->shares ? (double)args->shares[l] : 1;
    for (const int64_t *at = first; at < end; at++)
      args->weights[*at] = (float)((double)args->weights[*at] * share / sum);
  }
  return RV_OK;
}
