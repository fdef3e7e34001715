/* Included once a precision: the gradients of weights and biases, sums over all rows of all steps. */

/* dw[j, n] = sum over rows of d[row, column + j] z[row, n], for j in [0, count); dw has `padded` columns. */
static void NAME(outer)(const task_t *t, const el *d, int64_t width, int64_t count, const el *z, float *dw, float *dbias,
                        char *scratch) {
    const int64_t hp = t->padded, rows = t->steps * t->batch, tiles = (count + MAX_ROWS - 1) / MAX_ROWS;
    uint32_t *a = (uint32_t *)scratch, *b = a + WORDS_AT_ONCE * CHUNK + VL;
    if (dbias) memset(dbias, 0, (size_t)count * 4);
    for (int64_t r = 0; r < rows; r += WORDS_AT_ONCE * KW) {
        const int64_t some = within(rows - r, WORDS_AT_ONCE * KW), words = (some + KW - 1) / KW;
        const vu last = (vu){0} + (some % KW ? 0xffffu : ~0u); /* the second half of a last odd row is not there */
        for (int64_t n = 0; n < hp; n += VL)
            for (int64_t k = 0; k < words; k++) {
                const el *s = z + (r + k * KW) * hp + n;
                vu v = NAME(pair)(s, s + hp);
                *(vu_u *)(b + (n / (2 * VL) * words + k) * 2 * VL + n % (2 * VL)) = k == words - 1 ? v & last : v;
            }
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t j = count * i / tiles, m = count * (i + 1) / tiles - j;
            for (int64_t k = 0; k < words; k++) {
                const el *s = d + (r + k * KW) * width + j;
                uint32_t *o = a + j * words + k * m;
                for (int64_t q = 0; q < m; q += VL) { /* what is written past m is overwritten by the next k */
                    vu v = NAME(pair)(s + q, s + width + q);
                    *(vu_u *)(o + q) = k == words - 1 ? v & last : v;
                }
            }
            for (int64_t n = 0; n < hp; n += 2 * VL)
                NAME(outer_product)((int)m, a + j * words, words, b + n * words, dw + j * hp + n, hp, r > 0);
        }
        for (int64_t k = 0; dbias && k < some; k++)
            for (int64_t j = 0; j < count; j += VL)
                store(dbias + j, load(dbias + j) + NAME(load_el)(d + (r + k) * width + j));
    }
}

/* The first layer's input is a symbol: the gradient of its weight's columns, and of the bias, by symbol. */
static void NAME(by_symbol)(const task_t *t, const NAME(plan) *p, int64_t slot, int64_t from, int64_t count) {
    const int64_t width = slots_of(t) * t->padded;
    float *sums = p->layers[0].dbias + slot * t->padded + from;
    const el *d = p->layers[0].gates + slot * t->padded + from;
    for (int64_t s = 0; s < t->symbols; s++) memset(sums + s * width, 0, (size_t)count * 4);
    for (int64_t step = 0; step < t->steps; step++)
        for (int64_t b = 0; b < t->batch; b++, d += width) {
            float *o = sums + t->tokens[b * t->steps + step] * width;
            for (int64_t j = 0; j < count; j += VL) store(o + j, load(o + j) + NAME(load_el)(d + j));
        }
}

static float NAME(bias_sum)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t slot, int64_t u) {
    const float *at = p->layers[l].dbias + slot * t->padded + u;
    float b = 0;
    for (int64_t s = 0; s < (l ? 1 : t->symbols); s++) b += at[s * slots_of(t) * t->padded];
    return b;
}

INLINE void NAME(give)(const task_t *t, float *to, float value) { *to = t->add ? *to + value : value; }
static void NAME(give_row)(const task_t *t, float *to, const float *from, int64_t n) {
    if (t->add)
        for (int64_t u = 0; u < n; u++) to[u] += from[u];
    else
        memcpy(to, from, (size_t)n * 4);
}

/* Some units of one gate of one layer. A GRU's n gate has, towards h, another gradient or another input. */
static void NAME(gate_gradients)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t gate, int64_t from,
                                 int64_t count, char *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t h = t->hidden, hp = t->padded, width = slots_of(t) * hp, row = gate * hp + from;
    const int n_gate = gate == 2 && t->cell != LSTM;
    const int64_t hidden_slot = n_gate && t->cell == GRU_AFTER ? 3 : gate;
    const el *dz = at->gates + row, *dhidden = at->gates + hidden_slot * hp + from;
    const int before = n_gate && t->cell == GRU_BEFORE;
    float *dx = l ? at->dx + row * hp : 0, *dh = at->dh + row * hp, *dbias = l ? at->dbias + row : 0;
    float *hidden_dbias = l && hidden_slot != gate ? at->dbias + hidden_slot * hp + from : 0;
    if (!l) NAME(by_symbol)(t, p, gate, from, count);
    if (!l && hidden_slot != gate) NAME(by_symbol)(t, p, hidden_slot, from, count);
#if PRECISION == 16 && TILES
    if (tiles_allowed) {
        const uint32_t *b[2] = {before ? at->pairs_more : at->pairs_h, l ? NAME(output_pairs)(t, &p->layers[l - 1]) : 0};
        float *dw[2] = {dh, dx};
        if (hidden_slot == gate)
            NAME(outer_in_tiles)(t, dz, width, count, b, dw, l ? 2 : 1, dbias, scratch);
        else {
            NAME(outer_in_tiles)(t, dhidden, width, count, b, dw, 1, hidden_dbias, scratch);
            if (l) NAME(outer_in_tiles)(t, dz, width, count, b + 1, dw + 1, 1, dbias, scratch);
        }
    } else
#endif
    {
        if (l) NAME(outer)(t, dz, width, count, p->layers[l - 1].y, dx, dbias, scratch);
        NAME(outer)(t, dhidden, width, count, before ? at->more : at->hs, dh, hidden_dbias, scratch);
    }
    for (int64_t u = from; u < from + count && u < h; u++) {
        const int64_t out = gate * h + u;
        NAME(give_row)(t, t->gradients[4 * l + 2] + out * h, at->dh + (gate * hp + u) * hp, h);
        NAME(give)(t, t->gradients[4 * l + 1] + out, NAME(bias_sum)(t, p, l, gate, u));
        NAME(give)(t, t->gradients[4 * l + 3] + out, NAME(bias_sum)(t, p, l, hidden_slot, u));
        if (l)
            NAME(give_row)(t, t->gradients[4 * l] + out * h, at->dx + (gate * hp + u) * hp, h);
        else
            for (int64_t s = 0; s < t->symbols; s++)
                NAME(give)(t, t->gradients[0] + out * t->symbols + s, at->dbias[s * width + gate * hp + u]);
    }
}

static void NAME(decoder_gradients)(const task_t *t, const NAME(plan) *p, int64_t from, int64_t count, char *scratch) {
    const int64_t hp = t->padded, h = t->hidden;
    const el *d = p->dlogits + from;
    const NAME(layer) *last = &p->layers[t->layers - 1];
    float *dw = p->ddecoder + from * hp, *dbias = p->ddecoder_bias + from;
#if PRECISION == 16 && TILES
    if (tiles_allowed) {
        const uint32_t *b = NAME(output_pairs)(t, last);
        NAME(outer_in_tiles)(t, d, t->outputs_padded, count, &b, &dw, 1, dbias, scratch);
    } else
#endif
        NAME(outer)(t, d, t->outputs_padded, count, last->y, dw, dbias, scratch);
    for (int64_t j = from; j < from + count && j < t->outputs; j++) {
        float *row = t->gradients[4 * t->layers] + j * h;
        for (int64_t u = 0; u < h; u++) NAME(give)(t, row + u, p->ddecoder[j * hp + u] * t->scale);
        NAME(give)(t, t->gradients[4 * t->layers + 1] + j, p->ddecoder_bias[j] * t->scale);
    }
}
