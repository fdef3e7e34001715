/* Included once a precision: one GRU layer, all steps, some rows of the batch.

   r, z = sigmoid(W x + b + U h + d), h' = n + z (h - n), and
   GRU_BEFORE: n = tanh(W x + b + U (r h) + d), GRU_AFTER: n = tanh(W x + b + r (U h + d)). */

static void NAME(gru_reset_and_update)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t row, int rows,
                                       const float *const *init, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, size = hp / KW * 2 * VL, slots = slots_of(t);
    const int later = ADDED_LATER(l);
    for (int64_t u = 0; u < hp; u += VL) {
        NAME(part) parts[2];
        const int count = NAME(parts)(t, p, l, row, u / VL * size, at->hs, parts);
        NAME(product)(rows, later ? 0 : init, u, hp + u, parts, count, scratch, 2 * VL, VL);
        for (int m = 0; m < rows; m++) {
            const float *a = scratch + m * 2 * VL, *b = init[m] + u;
            const vf r = NAME(sigmoid)(NAME(completed)(a, later, b));
            const vf z = NAME(sigmoid)(NAME(completed)(a + VL, later, b + hp));
            el *gates = at->gates + (row + m) * slots * hp + u;
            NAME(store_el)(gates, r);
            NAME(store_el)(gates + hp, z);
            if (t->cell == GRU_BEFORE)
                NAME(store_el)(at->more + (row + m) * hp + u, r * load(at->c + (row + m) * hp + u));
        }
    }
}

static void NAME(gru_forward)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, B = t->batch, size = hp / KW * 2 * VL, slots = slots_of(t);
    const float *init[GROUP_MAX], *hidden_init[GROUP_MAX];
    float *hidden = scratch + GROUP_MAX * 2 * VL;
    const int later = ADDED_LATER(l);
    for (int m = 0; m < rows; m++) hidden_init[m] = at->hidden_bias;
    for (int64_t step = 0; step < t->steps; step++) {
        const int64_t row = step * B + r0;
        NAME(row_inits)(t, p, l, r0, rows, step, init);
        NAME(gru_reset_and_update)(t, p, l, row, rows, init, scratch);
        for (int64_t u = 0; u < hp; u += 2 * VL) {
            const int64_t panel = (hp / VL + u / (2 * VL)) * size;
            NAME(part) parts[2];
            const int count = NAME(parts)(t, p, l, row, panel, t->cell == GRU_BEFORE ? at->more : at->hs, parts);
            if (t->cell == GRU_BEFORE)
                NAME(product)(rows, later ? 0 : init, 2 * hp + u, 2 * hp + u + VL, parts, count, scratch, 2 * VL, VL);
            else { /* the part of x and that of h stay apart */
                NAME(product)(rows, later ? 0 : init, 2 * hp + u, 2 * hp + u + VL, parts, count - 1, scratch, 2 * VL, VL);
                NAME(product)(rows, hidden_init, u, u + VL, parts + count - 1, 1, hidden, 2 * VL, VL);
            }
            for (int m = 0; m < rows; m++) {
                const int64_t here = (row + m) * hp + u;
                el *gates = at->gates + (row + m) * slots * hp + u;
                vf n[2], h[2];
#pragma GCC unroll 2
                for (int s = 0; s < 2; s++) {
                    const int64_t v = s * VL;
                    vf a = NAME(completed)(scratch + m * 2 * VL + v, later, init[m] + 2 * hp + u + v);
                    if (t->cell == GRU_AFTER) {
                        const vf b = load(hidden + m * 2 * VL + v);
                        NAME(store_el)(gates + 3 * hp + v, b);
                        a += NAME(load_el)(gates + v) * b;
                    }
                    n[s] = NAME(tanh_of)(a);
                    h[s] = n[s] + NAME(load_el)(gates + hp + v) * (load(at->c + here + v) - n[s]);
                    store(at->c + here + v + B * hp, h[s]);
                }
                NAME(store_two)(gates + 2 * hp, n[0], n[1]);
                NAME(emit)(t, at, l, step, r0 + m, u, h[0], h[1]);
            }
        }
    }
}

/* Gradients of n and z (and of r, with GRU_AFTER) before their sigmoid and tanh; dh becomes what goes past them. */
static void NAME(gru_gates_back)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t step, int64_t r0, int rows,
                                 float *dh) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, row = step * t->batch + r0, slots = slots_of(t);
    for (int m = 0; m < rows; m++)
        for (int64_t u = 0; u < hp; u += VL) {
            el *gates = at->gates + (row + m) * slots * hp + u;
            const vf r = NAME(load_el)(gates), z = NAME(load_el)(gates + hp), n = NAME(load_el)(gates + 2 * hp);
            const vf d = load(dh + m * hp + u) + NAME(from_above)(t, p, l, step, r0 + m, u);
            const vf dn = d * (1.0f - z) * (1.0f - n * n);
            NAME(store_el)(gates + hp, d * (load(at->c + (row + m) * hp + u) - n) * z * (1.0f - z));
            NAME(store_el)(gates + 2 * hp, dn);
            if (t->cell == GRU_AFTER) {
                NAME(store_el)(gates, dn * NAME(load_el)(gates + 3 * hp) * r * (1.0f - r));
                NAME(store_el)(gates + 3 * hp, dn * r);
            }
            store(dh + m * hp + u, d * z);
        }
}

static void NAME(gru_backward)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, float *scratch) {
    const NAME(layer) *at = &p->layers[l];
    const int64_t hp = t->padded, slots = slots_of(t), gate = hp / KW * 2 * VL;
    float *dh = scratch, *q = scratch + GROUP_MAX * hp;
    NAME(take_gradient)(t, t->dh, l, r0, rows, dh);
    for (int64_t step = t->steps - 1; step >= 0; step--) {
        const int64_t row = step * t->batch + r0;
        el *gates = at->gates + row * slots * hp;
        NAME(gru_gates_back)(t, p, l, step, r0, rows, dh);
        NAME(part) back[2] = {{gates, slots * hp, 2 * hp / KW, at->back_h},
                              {gates + (t->cell == GRU_AFTER ? 3 : 2) * hp, slots * hp, hp / KW, at->back_h + 2 * gate}};
        if (t->cell == GRU_AFTER)
            NAME(columns)(t, rows, dh, back, 2, dh);
        else {
            NAME(columns)(t, rows, 0, back + 1, 1, q); /* the gradient of r h */
            for (int m = 0; m < rows; m++)
                for (int64_t u = 0; u < hp; u += VL) {
                    el *at_r = gates + m * slots * hp + u;
                    const vf r = NAME(load_el)(at_r), d = load(q + m * hp + u);
                    store(dh + m * hp + u, load(dh + m * hp + u) + d * r);
                    NAME(store_el)(at_r, d * load(at->c + (row + m) * hp + u) * r * (1.0f - r));
                }
            NAME(columns)(t, rows, dh, back, 1, dh);
        }
        NAME(pass_down)(t, p, l, row, rows);
    }
    NAME(give_gradient)(t, t->dh, l, r0, rows, dh);
}
