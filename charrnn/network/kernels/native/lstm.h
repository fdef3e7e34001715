/* Included once a precision: one LSTM layer, all steps, some rows of the batch.

   i, f, o = sigmoid(W x + b + U h + d), g = tanh(the same), c' = f c + i g, h' = o tanh(c'). */

static void NAME(lstm_forward)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, B = t->batch, S = t->steps, size = hp / KW * 2 * VL;
    const float *init[GROUP_MAX];
    const int later = ADDED_LATER(l);
    for (int64_t step = 0; step < S; step++) {
        const int64_t row = step * B + r0;
        NAME(row_inits)(t, p, l, r0, rows, step, init);
        for (int64_t u = 0; u < hp; u += VL) {
            for (int64_t q = 0; q < 2; q++) {
                NAME(part) parts[2];
                const int count = NAME(parts)(t, p, l, row, (u / VL * 2 + q) * size, at->hs, parts);
                NAME(product)(rows, later ? 0 : init, 2 * q * hp + u, (2 * q + 1) * hp + u, parts, count, scratch + 2 * q * VL,
                              4 * VL, VL);
            }
            for (int m = 0; m < rows; m++) {
                const float *a = scratch + m * 4 * VL;
                const int64_t here = (row + m) * hp + u;
                const float *b = init[m] + u;
                const vf i = NAME(sigmoid)(NAME(completed)(a, later, b));
                const vf f = NAME(sigmoid)(NAME(completed)(a + VL, later, b + hp));
                const vf g = NAME(tanh_of)(NAME(completed)(a + 2 * VL, later, b + 2 * hp));
                const vf o = NAME(sigmoid)(NAME(completed)(a + 3 * VL, later, b + 3 * hp));
                const vf c = f * load(at->c + here) + i * g, tc = NAME(tanh_of)(c), h = o * tc;
                el *gates = at->gates + (row + m) * 4 * hp + u;
                NAME(store_el)(gates, i);
                NAME(store_el)(gates + hp, f);
                NAME(store_el)(gates + 2 * hp, g);
                NAME(store_el)(gates + 3 * hp, o);
                NAME(store_el)(at->more + here, tc);
                store(at->c + here + B * hp, c);
                NAME(emit)(t, at, l, step, r0 + m, u, h);
                if (step == S - 1) NAME(keep_last)(t, t->cn, l, r0 + m, u, c);
            }
        }
    }
}

static void NAME(lstm_backward)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, B = t->batch;
    float *dh = scratch, *dc = scratch + GROUP_MAX * hp;
    NAME(take_gradient)(t, t->dh, l, r0, rows, dh);
    NAME(take_gradient)(t, t->dc, l, r0, rows, dc);
    for (int64_t step = t->steps - 1; step >= 0; step--) {
        const int64_t row = step * B + r0;
        for (int m = 0; m < rows; m++)
            for (int64_t u = 0; u < hp; u += VL) {
                const int64_t here = (row + m) * hp + u;
                el *gates = at->gates + (row + m) * 4 * hp + u;
                const vf i = NAME(load_el)(gates), f = NAME(load_el)(gates + hp);
                const vf g = NAME(load_el)(gates + 2 * hp), o = NAME(load_el)(gates + 3 * hp);
                const vf tc = NAME(load_el)(at->more + here);
                const vf d = load(dh + m * hp + u) + NAME(from_above)(t, p, l, step, r0 + m, u);
                const vf k = load(dc + m * hp + u) + d * o * (1.0f - tc * tc);
                store(dc + m * hp + u, k * f);
                NAME(store_el)(gates, k * g * i * (1.0f - i));
                NAME(store_el)(gates + hp, k * load(at->c + here) * f * (1.0f - f));
                NAME(store_el)(gates + 2 * hp, k * i * (1.0f - g * g));
                NAME(store_el)(gates + 3 * hp, d * tc * o * (1.0f - o));
            }
        NAME(part) back = {at->gates + row * 4 * hp, 4 * hp, 4 * hp / KW, at->back_h};
        NAME(columns)(t, rows, 0, &back, 1, dh);
        NAME(pass_down)(t, p, l, row, rows);
    }
    NAME(give_gradient)(t, t->dh, l, r0, rows, dh);
    NAME(give_gradient)(t, t->dc, l, r0, rows, dc);
}
