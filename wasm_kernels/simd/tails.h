/* Partial loads and stores for sets without masked memory instructions. */
RV_INLINE vf v_load_n(const float *p, int64_t n) {
  float lanes[VL] = {0};
  for (int64_t i = 0; i < n; i++) lanes[i] = p[i];
  return v_load(lanes);
}

RV_INLINE void v_store_n(float *p, vf v, int64_t n) {
  float lanes[VL];
  v_store(lanes, v);
  for (int64_t i = 0; i < n; i++) p[i] = lanes[i];
}
