/* Scores from distances: a row is a point of a product of spaces, each a segment of its channels.
 *   score = sum over segments of weight * f(segment)
 *   f:  dot            <q, k>
 *       euclidean      -d                d = |q - k|
 *       poincare       -d                d = log1p(t + sqrt(t (t + 2))) / sqrt c,  t = 2 c |q - k|^2 aq ak,  a = 1 / (1 - c |x|^2)
 *       lorentz        -d                the same with t = c / 2 (|q - k|^2 - (aq - ak)^2): a is the time coordinate
 *       spherical      -d                d = 2 asin(sqrt(c) |q - k| / 2) / sqrt c, for rows of length 1 / sqrt c
 *   and -d^2 where power is 2.
 * One number a row and segment, `aux` (a above), comes from the host, which computes it in double: near the boundary of
 * the ball it is all that matters. */
#ifndef RV_GEOMETRY_H
#define RV_GEOMETRY_H

enum { RV_DOT, RV_EUCLIDEAN, RV_POINCARE, RV_LORENTZ, RV_SPHERICAL, RV_SPACES };
enum { RV_MAX_SEGMENTS = 8 };
#define RV_LEAST_COSINE 1e-6f /* squared, of half an angle: at opposite points every direction leads back */

typedef struct {
  int64_t begin, end, kind, power;
} rv_segment;

typedef struct {
  double weight, curvature; /* c > 0 */
} rv_space;

static int segments_fit(const rv_segment *segments, const rv_space *spaces, int64_t n, int64_t dim) {
  if (n > RV_MAX_SEGMENTS || (n > 0 && (!segments || !spaces))) return 0;
  for (int64_t s = 0; s < n; s++) {
    const rv_segment *at = segments + s;
    if (at->begin < 0 || at->begin > at->end || at->end > dim || at->kind < 0 || at->kind >= RV_SPACES ||
        at->power < 1 || at->power > 2 || !(spaces[s].curvature > 0))
      return 0;
  }
  return 1;
}

/* t of a hyperbolic distance from a squared difference and the aux of both ends. */
RV_INLINE vf hyperbolic_t(int64_t kind, float c, vf square, vf a, vf b) {
  if (kind == RV_POINCARE) return v_mul(v_mul(square, v_set(2.0f * c)), v_mul(a, b));
  const vf time = v_sub(a, b);
  return v_mul(v_set(0.5f * c), v_max(v_zero(), v_sub(square, v_mul(time, time))));
}

/* d from a squared difference. */
RV_INLINE vf distance(int64_t kind, float c, float root_c, vf square, vf a, vf b) {
  if (kind == RV_EUCLIDEAN) return v_sqrt(square);
  if (kind == RV_SPHERICAL) {
    const vf half_chord = v_min(v_set(1.0f), v_mul(v_sqrt(square), v_set(0.5f * root_c)));
    return v_mul(v_asin(half_chord), v_set(2.0f / root_c));
  }
  const vf t = hyperbolic_t(kind, c, square, a, b);
  return v_mul(v_log1p(v_add(t, v_sqrt(v_mul(t, v_add(t, v_set(2.0f)))))), v_set(1.0f / root_c));
}

/* One line of raw numbers -> weight * f; accumulated onto `total` unless it is the first. a: of the line; b: of lanes.
 * Answers the defect of the raw numbers in `defect`, lane by lane. */
RV_INLINE void space_line(const rv_segment *segment, const rv_space *space, float factor, const float *raw, int nv,
                          float line_aux, const float *lane_aux, float *total, int first, float *defect) {
  const float c = (float)space->curvature, root_c = (float)__builtin_sqrt(space->curvature);
  const vf weight = v_set((float)space->weight * factor);
  for (int v = 0; v < nv; v++) {
    const vf x = v_load(raw + v * VL);
    vf f = x;
    if (segment->kind != RV_DOT) {
      const vf d = distance(segment->kind, c, root_c, x, v_set(line_aux), v_load(lane_aux + v * VL));
      f = v_sub(v_zero(), segment->power == 2 ? v_mul(d, d) : d);
    }
    const vf score = v_mul(weight, f);
    v_store(total + v * VL, first ? score : v_add(score, v_load(total + v * VL)));
    v_store(defect + v * VL, v_fma(score, v_zero(), v_load(defect + v * VL)));
  }
}

/* ---- derivatives: per pair, for one line of a tile whose lanes are queries ----
 *   u = d or d^2, score = -weight u. With g the gradient of the score:
 *   square  the gradient of |q - k|^2       line_aux, lane_aux  those of a of the line and of the lanes
 *   sums    g * -u, and g times the derivative by the curvature where |q - k|^2 and a stay */
typedef struct {
  vf square, line_aux, lane_aux, weight, curvature;
} rv_space_gradient;

/* x (1/3 z + 3/10 z^2 + 15/56 z^3 + 35/144 z^4), z = x^2: x / sqrt(1 - x^2) - asin(x) where x is small and little would be
 * left of the difference. For z = -x^2 it is asinh(x) - x / sqrt(1 + x^2), negated. */
#define RV_SMALL_BEND 0.03f
RV_INLINE vf small_bend(vf x, vf z) {
  vf p = v_fma(v_set(35.0f / 144), z, v_set(15.0f / 56));
  p = v_fma(p, z, v_set(0.3f));
  return v_mul(v_mul(x, z), v_fma(p, z, v_set(1.0f / 3)));
}

RV_INLINE rv_space_gradient space_gradient(const rv_segment *segment, const rv_space *space, vf g, vf square, vf a,
                                           vf b) {
  const float c = (float)space->curvature, root_c = (float)__builtin_sqrt(space->curvature);
  const vf zero = v_zero(), one = v_set(1.0f), tiny = v_set(1e-30f),
           d = distance(segment->kind, c, root_c, square, a, b);
  rv_space_gradient of = {zero, zero, zero, zero, zero};
  vf of_d = v_mul(g, v_set(-(float)space->weight));
  of.weight = v_sub(zero, v_mul(g, segment->power == 2 ? v_mul(d, d) : d));
  if (segment->power == 2) of_d = v_mul(of_d, v_add(d, d));
  if (segment->kind == RV_EUCLIDEAN || segment->kind == RV_SPHERICAL) {
    const float quarter_c = segment->kind == RV_SPHERICAL ? 0.25f * c : 0.0f;
    const vf cosine = v_max(v_set(RV_LEAST_COSINE), v_sub(one, v_mul(square, v_set(quarter_c))));
    const vf slope = v_div(v_set(0.5f), v_sqrt(v_mul(v_max(square, tiny), cosine))); /* of d by square */
    of.square = v_where_lt(zero, square, v_mul(of_d, slope), zero);
    if (segment->kind == RV_SPHERICAL) { /* d = 2 asin(x) / sqrt c with x by sqrt(c): -d / 2c + square * slope / c */
      const vf z = v_mul(square, v_set(quarter_c)), far = v_sub(v_mul(square, slope), v_mul(v_set(0.5f), d));
      const vf near = v_mul(small_bend(v_sqrt(z), z), v_set(1.0f / root_c));
      of.curvature = v_mul(of_d, v_mul(v_set(1.0f / c), v_where_lt(z, v_set(RV_SMALL_BEND), near, far)));
    }
    return of;
  }
  const vf t = hyperbolic_t(segment->kind, c, square, a, b), product = v_mul(t, v_add(t, v_set(2.0f)));
  const vf of_t = v_where_lt(zero, t, v_div(v_mul(of_d, v_set(1.0f / root_c)), v_sqrt(v_max(product, tiny))), zero);
  /* d sqrt(c) = 2 asinh(x), x = sqrt(t / 2): t by c gives x / sqrt(1 + x^2), 1 / sqrt(c) gives -asinh(x) */
  const vf z = v_mul(t, v_set(-0.5f)), near = small_bend(v_sqrt(v_sub(zero, z)), z);
  const vf far = v_sub(v_div(t, v_sqrt(v_max(product, tiny))), v_mul(d, v_set(0.5f * root_c)));
  of.curvature = v_mul(v_mul(of_d, v_set(1.0f / (c * root_c))), v_where_lt(v_set(-RV_SMALL_BEND), z, near, far));
  if (segment->kind == RV_POINCARE) {
    const vf twice_c = v_mul(of_t, v_set(2.0f * c));
    of.square = v_mul(twice_c, v_mul(a, b));
    of.line_aux = v_mul(twice_c, v_mul(square, b));
    of.lane_aux = v_mul(twice_c, v_mul(square, a));
  } else {
    const vf scaled = v_mul(of_t, v_set(c));
    of.square = v_mul(scaled, v_set(0.5f));
    of.line_aux = v_mul(scaled, v_sub(b, a));
    of.lane_aux = v_mul(scaled, v_sub(a, b));
  }
  return of;
}

#endif
