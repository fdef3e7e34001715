/* Included once a precision: the decoder and the loss, some rows of the batch. */

/* Losses, and their gradients with respect to the logits: softmax minus the target. */
static void NAME(decode)(const task_t *t, const NAME(plan) *p, int64_t r0, int rows, float *z) {
    const int64_t hp = t->padded, V = t->outputs_padded, S = t->steps;
    const float *init[GROUP_MAX];
    for (int m = 0; m < rows; m++) init[m] = p->decoder_bias;
    for (int64_t step = 0; step < S; step++) {
        const int64_t row = step * t->batch + r0;
        for (int64_t n = 0; n < V; n += 2 * VL) {
            NAME(part) y = {p->layers[t->layers - 1].y + row * hp, hp, hp / KW, p->decoder + n * (hp / KW)};
            NAME(product)(rows, init, n, n + VL, &y, 1, z + n, V, VL);
        }
        for (int m = 0; m < rows; m++) {
            float *logits = z + m * V;
            const int64_t target = t->targets[(r0 + m) * S + step];
            const float chosen = logits[target];
            vf largest = load(logits), total = {0};
            for (int64_t n = VL; n < V; n += VL) largest = vmax(largest, load(logits + n));
            const float top = highest(largest);
            for (int64_t n = 0; n < V; n += VL) {
                const vf e = exp_of(load(logits + n) - top);
                store(logits + n, e);
                total += e;
            }
            const float all = sum(total), share = 1.0f / all;
            t->loss[(r0 + m) * S + step] = __builtin_logf(all) + top - chosen;
            logits[target] -= all;
            el *d = p->dlogits + (row + m) * V;
            for (int64_t n = 0; n < V; n += VL) NAME(store_el)(d + n, load(logits + n) * share);
        }
    }
}

/* dy of the last layer: from the logits, or as the caller gives it. */
static void NAME(decode_back)(const task_t *t, const NAME(plan) *p, int64_t r0, int rows) {
    const int64_t hp = t->padded, V = t->outputs_padded, S = t->steps, panel = V / KW * 2 * VL;
    for (int64_t step = 0; step < S; step++) {
        const int64_t row = step * t->batch + r0;
        for (int64_t u = 0; t->outputs && u < hp; u += 2 * VL) {
            NAME(part) d = {p->dlogits + row * V, V, V / KW, p->back_decoder + u / (2 * VL) * panel};
            NAME(product)(rows, 0, 0, 0, &d, 1, p->dy + row * hp + u, hp, VL);
        }
        for (int m = 0; !t->outputs && m < rows; m++) {
            float *dy = p->dy + (row + m) * hp;
            memset(dy, 0, (size_t)hp * 4);
            memcpy(dy, t->doutput + ((r0 + m) * S + step) * t->hidden, (size_t)t->hidden * 4);
        }
    }
}

static void NAME(give_output)(const task_t *t, const NAME(plan) *p, int64_t r0, int rows) {
    const el *y = p->layers[t->layers - 1].y;
    for (int64_t m = r0; t->output && m < r0 + rows; m++)
        for (int64_t step = 0; step < t->steps; step++)
            for (int64_t u = 0; u < t->hidden; u++)
                t->output[(m * t->steps + step) * t->hidden + u] =
                    NAME(from_el)(y[(step * t->batch + m) * t->padded + u]);
}
