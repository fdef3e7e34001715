/* Included once a precision: one tanh layer, all steps, some rows of the batch: h' = tanh(W x + b + U h + d). */

static void NAME(rnn_forward)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, size = hp / KW * 2 * VL;
    const float *init[GROUP_MAX];
    const int later = ADDED_LATER(l);
    for (int64_t step = 0; step < t->steps; step++) {
        const int64_t row = step * t->batch + r0;
        NAME(row_inits)(t, p, l, r0, rows, step, init);
        for (int64_t u = 0; u < hp; u += 2 * VL) {
            NAME(part) parts[2];
            const int count = NAME(parts)(t, p, l, row, u / (2 * VL) * size, at->hs, parts);
            NAME(product)(rows, later ? 0 : init, u, u + VL, parts, count, scratch, 2 * VL, VL);
            for (int m = 0; m < rows; m++) {
                const float *a = scratch + m * 2 * VL, *b = init[m] + u;
                NAME(emit)(t, at, l, step, r0 + m, u, NAME(tanh_of)(NAME(completed)(a, later, b)),
                           NAME(tanh_of)(NAME(completed)(a + VL, later, b + VL)));
            }
        }
    }
}

static void NAME(rnn_backward)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, B = t->batch;
    float *dh = scratch;
    NAME(take_gradient)(t, t->dh, l, r0, rows, dh);
    for (int64_t step = t->steps - 1; step >= 0; step--) {
        const int64_t row = step * B + r0;
        for (int m = 0; m < rows; m++)
            for (int64_t u = 0; u < hp; u += VL) {
                const int64_t here = (row + m) * hp + u;
                const vf h = NAME(load_el)(at->hs + B * hp + here);
                const vf d = load(dh + m * hp + u) + NAME(from_above)(t, p, l, step, r0 + m, u);
                NAME(store_el)(at->gates + here, d * (1.0f - h * h));
            }
        NAME(part) back = {at->gates + row * hp, hp, hp / KW, at->back_h};
        NAME(columns)(t, rows, 0, &back, 1, dh);
        NAME(pass_down)(t, p, l, row, rows);
    }
    NAME(give_gradient)(t, t->dh, l, r0, rows, dh);
}
