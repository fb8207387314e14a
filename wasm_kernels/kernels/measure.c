/* What the machine can do at most: the yardstick that benchmarks put beside a kernel's speed. */
enum { RV_CHAINS = VL == 1 ? 8 : 12 }; /* independent chains, enough to fill every multiply-add unit */

/* `rounds` times RV_CHAINS multiply-adds of VL lanes, each depending on its own chain alone.
 *   out (2): in, the factor and the term (so that nothing is folded away); out, a sum and the multiply-adds a round */
static int32_t rv_peak(const rv_peak_args *args) {
  vf chain[RV_CHAINS];
  const vf factor = v_set(args->out[0]), term = v_set(args->out[1]);
  RV_UNROLL for (int i = 0; i < RV_CHAINS; i++) chain[i] = v_set((float)i);
  for (int64_t round = 0; round < args->rounds; round++)
    RV_UNROLL for (int i = 0; i < RV_CHAINS; i++) chain[i] = v_fma(chain[i], factor, term);
  vf sum = v_zero();
  RV_UNROLL for (int i = 0; i < RV_CHAINS; i++) sum = v_add(sum, chain[i]);
  args->out[0] = v_hsum(sum);
  args->out[1] = RV_CHAINS * VL;
  return RV_OK;
}
