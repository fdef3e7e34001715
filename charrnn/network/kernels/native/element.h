/* Included once a precision (PRECISION 32 or 16): elements, and the products of tiles.

   An element is a float or a bfloat16. What the tiles multiply are words of 32 bits: one float, or two bfloat16 that
   are neighbours in the dimension that is summed over (KW elements a word). Sums are always in float. */
#if PRECISION == 16
#define NAME(x) x##_bf16
#define KW 2
typedef uint16_t NAME(el);
#else
#define NAME(x) x##_fp32
#define KW 1
typedef float NAME(el);
#endif
#define el NAME(el)

#if PRECISION == 16
INLINE vu NAME(widened)(const el *p) { return __builtin_convertvector(*(const vh_u *)p, vu); }
INLINE vf NAME(load_el)(const el *p) { return (vf)(NAME(widened)(p) << 16); }
INLINE void NAME(store_el)(el *p, vf v) { /* as to_el */
#if defined(__AVX512BF16__)
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
    const vu b = (vu)v, no_number = (vu)((b & 0x7fffffffu) > 0x7f800000u);
    const vu up = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
    *(vh_u *)p = __builtin_convertvector((no_number & ((b >> 16) | 0x40)) | (~no_number & up), vh);
#endif
}
INLINE void NAME(store_two)(el *p, vf a, vf b) {
#if defined(__AVX512BF16__)
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
#else
    NAME(store_el)(p, a);
    NAME(store_el)(p + VL, b);
#endif
}
INLINE float NAME(from_el)(el x) {
    const uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
INLINE el NAME(to_el)(float x) { /* to the nearest, halves to even; a NaN keeps its upper half */
    uint32_t b;
    memcpy(&b, &x, 4);
    if ((b & 0x7fffffffu) > 0x7f800000u) return (el)((b >> 16) | 0x40);
    return (el)((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}
INLINE uint32_t NAME(word)(float a, float b) {
    return (uint32_t)NAME(to_el)(a) | ((uint32_t)NAME(to_el)(b) << 16);
}
INLINE vf NAME(dot)(vf acc, uint32_t a, vu b) {
#if defined(__AVX512BF16__)
    return (vf)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
#else
    const vu word = (vu){0} + a;
    return acc + (vf)(word << 16) * (vf)(b << 16) + (vf)(word & 0xffff0000u) * (vf)(b & 0xffff0000u);
#endif
}
/* Words of two rows of the summed dimension, VL of them. */
INLINE vu NAME(pair)(const el *a, const el *b) { return NAME(widened)(a) | NAME(widened)(b) << 16; }
INLINE vf NAME(tanh_of)(vf x) { /* x P(x²) / Q(x²): own minimax fit to 2e-6, then a reciprocal of 14 bits */
    x = vmin(splat(7.5f), vmax(splat(-7.5f), x));
    vf u = x * x;
    vf p = ((3.729920084e-06f * u + 2.236411034e-03f) * u + 1.225879126e-01f) * u + 9.999982805e-01f;
    vf q = ((1.378361358e-04f * u + 2.088764276e-02f) * u + 4.559089641e-01f) * u + 1.0f;
    return x * p * rough_reciprocal(q);
}
#else
INLINE vf NAME(load_el)(const el *p) { return load(p); }
INLINE void NAME(store_el)(el *p, vf v) { store(p, v); }
INLINE void NAME(store_two)(el *p, vf a, vf b) {
    store(p, a);
    store(p + VL, b);
}
INLINE float NAME(from_el)(el x) { return x; }
INLINE el NAME(to_el)(float x) { return x; }
INLINE uint32_t NAME(word)(float a, float b) {
    uint32_t w;
    (void)b;
    memcpy(&w, &a, 4);
    return w;
}
INLINE vf NAME(dot)(vf acc, uint32_t a, vu b) {
    float x;
    memcpy(&x, &a, 4);
    return acc + x * (vf)b;
}
INLINE vu NAME(pair)(const el *a, const el *b) {
    (void)b;
    return (vu)load(a);
}
INLINE vf NAME(tanh_of)(vf x) { /* x P(x²) / Q(x²): own minimax fit, 2e-8 before rounding */
    x = vmin(splat(9.02f), vmax(splat(-9.02f), x));
    vf u = x * x;
    vf p = ((1.331915708e-08f * u + 2.058354874e-05f) * u + 3.494038905e-03f) * u + 1.337972167e-01f;
    vf q = ((7.762056098e-07f * u + 3.283099777e-04f) * u + 2.587108997e-02f) * u + 4.671303692e-01f;
    return x * (p * u + 9.999999790e-01f) * reciprocal(q * u + 1.0f);
}
#endif
INLINE vf NAME(sigmoid)(vf x) { return 0.5f + 0.5f * NAME(tanh_of)(0.5f * x); }

/* One part of a sum over words: rows of A, and the packed panel of 2 VL columns, [words][2 VL]. */
typedef struct {
    const el *a;
    int64_t stride; /* elements from row to row */
    int64_t words;
    const uint32_t *panel;
} NAME(part);

/* out[m][0..VL) and out[m][second..second + VL) = init[m][at0.. and at1..] + the parts' sums.
   The order of summation of a row does not depend on how many rows are done together. */
INLINE void NAME(tile)(const int rows, const float *const *init, int64_t at0, int64_t at1, const NAME(part) *parts,
                       int count, float *out, int64_t ld, int64_t second) {
    vf acc[MAX_ROWS][2];
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
        acc[m][0] = init ? load(init[m] + at0) : (vf){0};
        acc[m][1] = init ? load(init[m] + at1) : (vf){0};
    }
    for (int i = 0; i < count; i++) {
        /* a pointer for every fourth row, so that all addresses are pointer + {0, 1, 2, 3} strides */
        const int64_t ld1 = parts[i].stride * (int64_t)sizeof(el), ld3 = 3 * ld1, words = parts[i].words;
        const char *q0 = (const char *)parts[i].a, *q4 = q0 + 4 * ld1, *q8 = q4 + 4 * ld1;
        const uint32_t *panel = parts[i].panel;
        for (int64_t k = 0; k < words; k++) {
            vu b0 = *(const vu_u *)panel, b1 = *(const vu_u *)(panel + VL);
            panel += 2 * VL;
#pragma GCC unroll 16
            for (int m = 0; m < rows; m++) {
                const char *q = m < 4 ? q0 : m < 8 ? q4 : q8;
                const int r = m & 3;
                uint32_t a;
                memcpy(&a, q + (r == 0 ? 0 : r == 1 ? ld1 : r == 2 ? 2 * ld1 : ld3), 4);
                acc[m][0] = NAME(dot)(acc[m][0], a, b0);
                acc[m][1] = NAME(dot)(acc[m][1], a, b1);
            }
            q0 += 4, q4 += 4, q8 += 4;
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
        store(out + m * ld, acc[m][0]);
        store(out + m * ld + second, acc[m][1]);
    }
}

/* c[m][0..2 VL) = (c[m] if add) + sum over k of a[k][m] panel[k]. */
INLINE void NAME(outer_tile)(const int rows, const uint32_t *a, int64_t words, const uint32_t *panel, float *c,
                             int64_t ld, int add) {
    vf acc[MAX_ROWS][2];
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
        acc[m][0] = add ? load(c + m * ld) : (vf){0};
        acc[m][1] = add ? load(c + m * ld + VL) : (vf){0};
    }
    for (int64_t k = 0; k < words; k++) {
        vu b0 = *(const vu_u *)panel, b1 = *(const vu_u *)(panel + VL);
        panel += 2 * VL;
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++) {
            acc[m][0] = NAME(dot)(acc[m][0], a[m], b0);
            acc[m][1] = NAME(dot)(acc[m][1], a[m], b1);
        }
        a += rows;
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
        store(c + m * ld, acc[m][0]);
        store(c + m * ld + VL, acc[m][1]);
    }
}

#if MAX_ROWS == 12
#define EACH_ROW_COUNT(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12)
#else
#define EACH_ROW_COUNT(F) F(1) F(2) F(3) F(4) F(5) F(6)
#endif
#if PRECISION == 16 && TILES
#include "tile_products.h"
#define IN_TILES tiles_allowed
#else
#define IN_TILES 0
#endif
/* Any number of rows, in tiles of about the same size: the panels stay in a near cache for all of them. */
static __attribute__((noinline)) void NAME(product)(int rows, const float *const *init, int64_t at0, int64_t at1,
                                                    const NAME(part) *parts, int count, float *out, int64_t ld,
                                                    int64_t second) {
#if PRECISION == 16 && TILES
    if (tiles_allowed) {
        NAME(product_in_tiles)(rows, init, at0, at1, parts, count, out, ld, second);
        return;
    }
#endif
    const int tiles = (rows + MAX_ROWS - 1) / MAX_ROWS;
    for (int i = 0; i < tiles; i++) {
        const int m = rows * i / tiles;
        const float *const *from = init ? init + m : 0;
        NAME(part) here[2] = {parts[0], parts[count - 1]};
        here[0].a += m * here[0].stride, here[1].a += m * here[1].stride;
        switch (rows * (i + 1) / tiles - m) {
#define ROWS(n) case n: NAME(tile)(n, from, at0, at1, here, count, out + m * ld, ld, second); break;
            EACH_ROW_COUNT(ROWS)
#undef ROWS
        }
    }
}
static __attribute__((noinline)) void NAME(outer_product)(int rows, const uint32_t *a, int64_t words,
                                                          const uint32_t *panel, float *c, int64_t ld, int add) {
    switch (rows) {
#define ROWS(n) case n: NAME(outer_tile)(n, a, words, panel, c, ld, add); break;
        EACH_ROW_COUNT(ROWS)
#undef ROWS
    }
}
#undef EACH_ROW_COUNT
