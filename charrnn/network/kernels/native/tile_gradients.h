/* Included for bfloat16: the gradients of weights by the tile unit.

   The summed dimension is all rows of all steps, two to a word. What a layer is given is packed once for all gates,
   [padded / 2 VL][words][2 VL] (the right factor); gradients of gates are transposed, some units at a time, and serve
   the input's weight and the hidden one (the left factor: blocks of [TILE_ROWS units][TILE_WORDS]). */

/* One panel of pairs: columns n to n + 2 VL of the rows of z; zeros where there is no row. */
static void NAME(pack_pairs)(const task_t *t, const el *z, int64_t rows, int64_t n, uint32_t *out) {
    const int64_t words = pair_words(t), width = t->padded;
    out += n * words;
    for (int64_t k = 0; k < words; k++, out += 2 * VL)
        for (int64_t s = 0; s < 2 * VL; s += VL) {
            const el *a = z + 2 * k * width + n + s;
            if (2 * k + 1 < rows)
                *(vu_u *)(out + s) = NAME(pair)(a, a + width);
            else
                *(vu_u *)(out + s) = 2 * k < rows ? NAME(pair)(a, a) & 0xffffu : (vu){0};
        }
}

/* out[j][k] = in[k][j], 16 by 16 words; rows of `out` are TILE_WORDS apart. */
INLINE void NAME(transpose)(vu in[16], uint32_t *out) {
#if defined(__AVX512F__)
    __m512i a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 8; i++) {
        a[2 * i] = _mm512_unpacklo_epi32((__m512i)in[2 * i], (__m512i)in[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32((__m512i)in[2 * i], (__m512i)in[2 * i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 16
        for (int j = 0; j < 2; j++) {
            b[4 * i + 2 * j] = _mm512_unpacklo_epi64(a[4 * i + j], a[4 * i + 2 + j]);
            b[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(a[4 * i + j], a[4 * i + 2 + j]);
        }
    /* b[4 i + q]: words 4 i to 4 i + 3 of the rows q, q + 4, q + 8, q + 12, a quarter each */
#pragma GCC unroll 16
    for (int q = 0; q < 4; q++) {
        const __m512i low = _mm512_shuffle_i32x4(b[q], b[4 + q], 0x88), high = _mm512_shuffle_i32x4(b[8 + q], b[12 + q], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(b[q], b[4 + q], 0xdd), top = _mm512_shuffle_i32x4(b[8 + q], b[12 + q], 0xdd);
        _mm512_storeu_si512(out + q * 16, _mm512_shuffle_i32x4(low, high, 0x88));
        _mm512_storeu_si512(out + (q + 8) * 16, _mm512_shuffle_i32x4(low, high, 0xdd));
        _mm512_storeu_si512(out + (q + 4) * 16, _mm512_shuffle_i32x4(odd, top, 0x88));
        _mm512_storeu_si512(out + (q + 12) * 16, _mm512_shuffle_i32x4(odd, top, 0xdd));
    }
#else
    for (int j = 0; j < 16; j++)
        for (int k = 0; k < 16; k++) out[j * 16 + k] = in[k][j];
#endif
}

/* Blocks [count / 16][WORDS_AT_ONCE / 16][16 units][16 words] of rows r to r + 2 WORDS_AT_ONCE of d, and sums over
   the rows added to dbias, where it is wanted. */
static void NAME(pack_transposed)(const el *d, int64_t width, int64_t r, int64_t rows, int64_t count, uint32_t *out,
                                  float *dbias) {
    for (int64_t j = 0; j < count; j += VL) {
        vf total = dbias ? load(dbias + j) : (vf){0};
        for (int64_t k = 0; k < WORDS_AT_ONCE; k += TILE_WORDS, out += TILE_ROWS * TILE_WORDS) {
            vu block[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                const int64_t row = r + 2 * (k + i);
                const el *a = d + row * width + j;
                block[i] = row + 1 < rows ? NAME(pair)(a, a + width) : row < rows ? NAME(pair)(a, a) & 0xffffu : (vu){0};
                if (dbias) total = NAME(dot)(total, 0x3f803f80u, block[i]); /* two ones */
            }
            NAME(transpose)(block, out);
        }
        if (dbias) store(dbias + j, total);
    }
}

/* dw[j][n] (+)= sums over WORDS_AT_ONCE words: j in [0, count), n in [0, padded). */
static void NAME(add_product)(int64_t count, int64_t padded, const uint32_t *a, const uint32_t *b, int64_t words,
                              float *dw, int add) {
    const int64_t block = TILE_ROWS * TILE_WORDS, blocks = WORDS_AT_ONCE / TILE_WORDS;
    for (int64_t n = 0; n < padded; n += 2 * VL)
        for (int64_t j = 0; j < count; j += 2 * TILE_ROWS) {
            const uint32_t *a0 = a + j / TILE_ROWS * blocks * block, *a1 = a0 + blocks * block;
            const uint32_t *right = b + n * words;
            float *c = dw + j * padded + n, *c1 = c + TILE_ROWS * padded;
            if (add) {
                tile_load(0, c, padded * 4);
                tile_load(1, c + VL, padded * 4);
                tile_load(2, c1, padded * 4);
                tile_load(3, c1 + VL, padded * 4);
            } else {
                tile_zero(0);
                tile_zero(1);
                tile_zero(2);
                tile_zero(3);
            }
            for (int64_t k = 0; k < blocks; k++) {
                tile_load(4, a0 + k * block, 64);
                tile_load(6, right, 128);
                tile_load(7, right + VL, 128);
                tile_load(5, a1 + k * block, 64);
                right += TILE_WORDS * 2 * VL;
                tile_product(0, 4, 6);
                tile_product(1, 4, 7);
                tile_product(2, 5, 6);
                tile_product(3, 5, 7);
            }
            tile_store(0, c, padded * 4);
            tile_store(1, c + VL, padded * 4);
            tile_store(2, c1, padded * 4);
            tile_store(3, c1 + VL, padded * 4);
        }
}

/* The sums of `outer` for up to two right factors. */
static void NAME(outer_in_tiles)(const task_t *t, const el *d, int64_t width, int64_t count, const uint32_t *const *b,
                                 float *const *dw, int factors, float *dbias, char *scratch) {
    const int64_t rows = t->steps * t->batch;
    uint32_t *a = (uint32_t *)scratch;
    if (dbias) memset(dbias, 0, (size_t)count * 4);
    tile_shape(2 * TILE_ROWS);
    for (int64_t r = 0; r < rows; r += 2 * WORDS_AT_ONCE) {
        NAME(pack_transposed)(d, width, r, rows, count, a, dbias);
        for (int i = 0; i < factors; i++)
            NAME(add_product)(count, t->padded, a, b[i] + r * VL, pair_words(t), dw[i], r > 0);
    }
    tile_release();
}

/* Panel n of everything that a layer's weights are multiplied with. */
static void NAME(pack_factors)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t n) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t rows = t->steps * t->batch;
    NAME(pack_pairs)(t, at->hs, rows + t->batch, n, at->pairs_h);
    if (at->pairs_y) NAME(pack_pairs)(t, at->y, rows, n, at->pairs_y);
    if (at->pairs_more) NAME(pack_pairs)(t, at->more, rows, n, at->pairs_more);
}

/* The pairs of a layer's outputs: those of its states a step later, where they lie a whole word later. */
static const uint32_t *NAME(output_pairs)(const task_t *t, const NAME(layer) *at) {
    return at->pairs_y ? at->pairs_y : at->pairs_h + t->batch * VL;
}
