/* Included for bfloat16: the products of element.h by the tile unit.

   A forward panel, [words][2 VL] with two neighbours of the summed dimension in a word, is the unit's own layout for
   a right factor, and rows as they lie are that for a left one: nothing is packed anew. */

/* As NAME(product), for the rows that `tile_shape` was told of. The sums begin at zero, at `out` itself, or at one row
   for all (init[0] is each of them). */
static void NAME(product_in_tiles)(int rows, const float *const *init, int64_t at0, int64_t at1,
                                   const NAME(part) *parts, int count, float *out, int64_t ld, int64_t second) {
    const int more = rows > TILE_ROWS;
    float *lower = out + TILE_ROWS * ld;
    if (init) {
        const float *from = init[0];
        const int64_t stride = from + at0 == out ? ld * 4 : 0;
        tile_load(0, from + at0, stride);
        tile_load(1, from + at1, stride);
        if (more) {
            tile_load(2, from + at0 + TILE_ROWS * stride / 4, stride);
            tile_load(3, from + at1 + TILE_ROWS * stride / 4, stride);
        }
    } else {
        tile_zero(0);
        tile_zero(1);
        if (more) {
            tile_zero(2);
            tile_zero(3);
        }
    }
    for (int i = 0; i < count; i++) {
        const int64_t stride = parts[i].stride * (int64_t)sizeof(el);
        const char *a = (const char *)parts[i].a, *b = (const char *)parts[i].panel;
        const char *lower_a = a + TILE_ROWS * stride;
        for (int64_t k = 0; k < parts[i].words; k += TILE_WORDS) {
            tile_load(6, b, 128);
            tile_load(7, b + 64, 128);
            tile_load(4, a, stride);
            tile_product(0, 4, 6);
            tile_product(1, 4, 7);
            if (more) {
                tile_load(5, lower_a, stride);
                tile_product(2, 5, 6);
                tile_product(3, 5, 7);
            }
            a += 64, lower_a += 64, b += 128 * TILE_WORDS;
        }
    }
    tile_store(0, out, ld * 4);
    tile_store(1, out + second, ld * 4);
    if (more) {
        tile_store(2, lower, ld * 4);
        tile_store(3, lower + second, ld * 4);
    }
}
