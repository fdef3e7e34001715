/* Vectors of VL floats on any instruction set that the compiler knows, and the few operations that need one by name. */
#ifndef CHARRNN_VECTOR_H
#define CHARRNN_VECTOR_H
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* MAX_ROWS: rows of a tile. Two accumulators a row, two weights and a broadcast have to fit the registers:
   32 of them with AVX-512 and NEON, 16 before. */
#if defined(__AVX512F__) || defined(EMULATE_TILES)
#define VL 16
#define MAX_ROWS 12
#elif defined(__AVX__)
#define VL 8
#define MAX_ROWS 6
#elif defined(__aarch64__)
#define VL 4
#define MAX_ROWS 12
#else
#define VL 4
#define MAX_ROWS 6
#endif

#define GROUP_MAX (5 * MAX_ROWS) /* the most rows that take a step together, in several tiles */

typedef float vf __attribute__((vector_size(VL * 4)));
typedef float vf_u __attribute__((vector_size(VL * 4), aligned(4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));
typedef uint16_t vh_u __attribute__((vector_size(VL * 2), aligned(2), may_alias));
typedef uint32_t vu_u __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vf load(const float *p) { return *(const vf_u *)p; }
INLINE void store(float *p, vf v) { *(vf_u *)p = v; }
INLINE vf splat(float x) { return x - (vf){0}; }

/* The smaller (larger) of each pair; where one is no number, the second. */
INLINE vf vmin(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#else
    vi m = a < b;
    return (vf)(((vi)a & m) | ((vi)b & ~m));
#endif
}
INLINE vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#else
    vi m = a > b;
    return (vf)(((vi)a & m) | ((vi)b & ~m));
#endif
}
INLINE float sum(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s = 0;
    for (int i = 0; i < VL; i++) s += v[i];
    return s;
#endif
}
INLINE float highest(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float s = v[0];
    for (int i = 1; i < VL; i++) s = v[i] > s ? v[i] : s;
    return s;
#endif
}
INLINE vf rough_reciprocal(vf x) { /* to 14 bits at least */
#if defined(__AVX512F__)
    return (vf)_mm512_rcp14_ps((__m512)x);
#else
    return 1.0f / x;
#endif
}
INLINE vf reciprocal(vf x) {
#if defined(__AVX512F__)
    vf r = rough_reciprocal(x);
    return r + r * (1.0f - x * r); /* one Newton step */
#else
    return 1.0f / x;
#endif
}

/* e^x for x <= 0, to 2e-7: x = k ln 2 + f, |f| <= ln 2 / 2, and Taylor's series for f. Below -87 it is e^-87. */
INLINE vf exp_of(vf x) {
    x = vmax(splat(-87.0f), x);
    vi k = __builtin_convertvector(x * 1.44269504f - 0.5f, vi); /* towards zero: to the nearest, as x <= 0 */
    vf f = __builtin_convertvector(k, vf);
    f = (x - f * 0.693359375f) + f * 2.12194440e-4f; /* ln 2 in two parts, the first exact in few bits */
    vf e = 1.9841270e-4f * f + 1.3888889e-3f;
    e = ((((e * f + 8.3333338e-3f) * f + 4.1666668e-2f) * f + 1.6666667e-1f) * f + 0.5f) * f + 1.0f;
    e = e * f + 1.0f;
    return (vf)((vi)e + (k << 23));
}
#endif
