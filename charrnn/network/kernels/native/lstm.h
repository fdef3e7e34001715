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
        for (int64_t u = 0; u < hp; u += 2 * VL) { /* whole cache lines of bfloat16 */
            for (int64_t q = 0; q < 4; q++) {
                NAME(part) parts[2];
                const int64_t unit = u + q / 2 * VL, gate = q % 2 * 2;
                const int count = NAME(parts)(t, p, l, row, (u / VL * 2 + q) * size, at->hs, parts);
                NAME(product)(rows, later ? 0 : init, gate * hp + unit, (gate + 1) * hp + unit, parts, count,
                              scratch + 2 * q * VL, 8 * VL, VL);
            }
            for (int m = 0; m < rows; m++) {
                const float *a = scratch + m * 8 * VL, *b = init[m] + u;
                const int64_t here = (row + m) * hp + u;
                el *gates = at->gates + (row + m) * 4 * hp + u;
                vf i[2], f[2], g[2], o[2], tc[2], h[2];
#pragma GCC unroll 2
                for (int s = 0; s < 2; s++, a += 4 * VL, b += VL) {
                    i[s] = NAME(sigmoid)(NAME(completed)(a, later, b));
                    f[s] = NAME(sigmoid)(NAME(completed)(a + VL, later, b + hp));
                    g[s] = NAME(tanh_of)(NAME(completed)(a + 2 * VL, later, b + 2 * hp));
                    o[s] = NAME(sigmoid)(NAME(completed)(a + 3 * VL, later, b + 3 * hp));
                    const vf c = f[s] * load(at->c + here + s * VL) + i[s] * g[s];
                    tc[s] = NAME(tanh_of)(c);
                    h[s] = o[s] * tc[s];
                    store(at->c + here + s * VL + B * hp, c);
                    if (step == S - 1) NAME(keep_last)(t, t->cn, l, r0 + m, u + s * VL, c);
                }
                NAME(store_two)(gates, i[0], i[1]);
                NAME(store_two)(gates + hp, f[0], f[1]);
                NAME(store_two)(gates + 2 * hp, g[0], g[1]);
                NAME(store_two)(gates + 3 * hp, o[0], o[1]);
                NAME(store_two)(at->more + here, tc[0], tc[1]);
                NAME(emit)(t, at, l, step, r0 + m, u, h[0], h[1]);
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
            for (int64_t u = 0; u < hp; u += 2 * VL) {
                const int64_t here = (row + m) * hp + u;
                el *gates = at->gates + (row + m) * 4 * hp + u;
                vf di[2], df[2], dg[2], dz[2];
#pragma GCC unroll 2
                for (int s = 0; s < 2; s++) {
                    const int64_t v = s * VL;
                    const vf i = NAME(load_el)(gates + v), f = NAME(load_el)(gates + hp + v);
                    const vf g = NAME(load_el)(gates + 2 * hp + v), o = NAME(load_el)(gates + 3 * hp + v);
                    const vf tc = NAME(load_el)(at->more + here + v);
                    const vf d = load(dh + m * hp + u + v) + NAME(from_above)(t, p, l, step, r0 + m, u + v);
                    const vf k = load(dc + m * hp + u + v) + d * o * (1.0f - tc * tc);
                    store(dc + m * hp + u + v, k * f);
                    di[s] = k * g * i * (1.0f - i);
                    df[s] = k * load(at->c + here + v) * f * (1.0f - f);
                    dg[s] = k * i * (1.0f - g * g);
                    dz[s] = d * tc * o * (1.0f - o);
                }
                NAME(store_two)(gates, di[0], di[1]);
                NAME(store_two)(gates + hp, df[0], df[1]);
                NAME(store_two)(gates + 2 * hp, dg[0], dg[1]);
                NAME(store_two)(gates + 3 * hp, dz[0], dz[1]);
            }
        NAME(part) back = {at->gates + row * 4 * hp, 4 * hp, 4 * hp / KW, at->back_h};
        NAME(columns)(t, rows, 0, &back, 1, dh);
        NAME(pass_down)(t, p, l, row, rows);
    }
    NAME(give_gradient)(t, t->dh, l, r0, rows, dh);
    NAME(give_gradient)(t, t->dc, l, r0, rows, dc);
}
