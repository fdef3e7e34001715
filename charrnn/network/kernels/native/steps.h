/* Included once a precision: what the cells share within a step. */

/* Where each row's sums begin: the bias, in the first layer with the symbol's column of the input weight. */
INLINE void NAME(row_inits)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows, int64_t step,
                            const float **init) {
    const int64_t width = gates_of(t) * t->padded;
    for (int m = 0; m < rows; m++)
        init[m] = p->layers[l].bias + (l ? 0 : t->tokens[(r0 + m) * t->steps + step] * width);
}

/* Whether the symbol's column is added to the sums by the cell: tiles begin at one row for all. */
#define ADDED_LATER(l) (IN_TILES && !(l))
INLINE vf NAME(completed)(const float *sums, int later, const float *init) {
    return later ? load(sums) + load(init) : load(sums);
}

/* The sums over the layer's input (not in the first layer, whose input is a symbol) and over `h`. */
INLINE int NAME(parts)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t row, int64_t panel, const el *h,
                       NAME(part) *parts) {
    const int64_t hp = t->padded;
    int n = 0;
    if (l) parts[n++] = (NAME(part)){p->layers[l - 1].y + row * hp, hp, hp / KW, p->layers[l].x + panel};
    parts[n++] = (NAME(part)){h + row * hp, hp, hp / KW, p->layers[l].h + panel};
    return n;
}

/* The dropout mask of VL units, already divided by what is kept. The bits are a hash of where the units are: nothing
   has to be stored for the backward pass. The mixing steps are those of "lowbias32" by C. Wellons (public domain). */
INLINE vf NAME(mask)(const task_t *t, int64_t l, int64_t step, int64_t row, int64_t u) {
    vu x;
    for (int i = 0; i < VL; i++) x[i] = (uint32_t)i;
    x += (uint32_t)(((t->locked ? 0 : step) * t->batch + row) * t->padded + u);
    x ^= t->seed + (uint32_t)l * 0x9e3779b9u;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    const vi kept = (vi)(x >> 8) < (int32_t)(t->keep * 16777216.0f);
    return (vf)((vi)splat(1.0f / t->keep) & kept);
}

INLINE void NAME(keep_last)(const task_t *t, float *out, int64_t l, int64_t row, int64_t u, vf v) {
    out += (l * t->batch + row) * t->hidden + u;
    for (int64_t j = 0; j < within(t->hidden - u, VL); j++) out[j] = v[j];
}

/* A new h of 2 VL units: for the next step, for the next layer, and at the end for the caller. */
INLINE void NAME(emit)(const task_t *t, const NAME(layer) *at, int64_t l, int64_t step, int64_t row, int64_t u, vf h,
                       vf h2) {
    const int64_t here = (step * t->batch + row) * t->padded + u;
    NAME(store_two)(at->hs + here + t->batch * t->padded, h, h2);
    if (t->keep < 1)
        NAME(store_two)(at->y + here, h * NAME(mask)(t, l, step, row, u), h2 * NAME(mask)(t, l, step, row, u + VL));
    if (step == t->steps - 1) {
        NAME(keep_last)(t, t->hn, l, row, u, h);
        NAME(keep_last)(t, t->hn, l, row, u + VL, h2);
    }
}

/* The gradient of a layer's output that comes from above it. */
INLINE vf NAME(from_above)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t step, int64_t row, int64_t u) {
    vf d = load(p->dy + (step * t->batch + row) * t->padded + u);
    if (t->outputs && l == t->layers - 1) d *= t->scale;
    return t->keep < 1 ? d * NAME(mask)(t, l, step, row, u) : d;
}

/* out[row, 0..padded) = init + sums over all the panels' columns; each part's panel is that of the first columns. */
INLINE void NAME(columns)(const task_t *t, int rows, const float *init, const NAME(part) *parts, int count, float *out) {
    const int64_t hp = t->padded, panel = gates_of(t) * hp / KW * 2 * VL;
    const float *inits[GROUP_MAX];
    for (int m = 0; m < rows; m++) inits[m] = init ? init + m * hp : 0;
    NAME(part) here[2] = {parts[0], parts[count - 1]};
    for (int64_t u = 0; u < hp; u += 2 * VL) {
        NAME(product)(rows, init ? inits : 0, u, u + VL, here, count, out + u, hp, VL);
        here[0].panel += panel, here[1].panel += panel;
    }
}

/* The gradient of a layer's input takes the place of that of its output. */
INLINE void NAME(pass_down)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t row, int rows) {
    const int64_t hp = t->padded, slots = slots_of(t), gates = gates_of(t);
    if (!l) return;
    NAME(part) back = {p->layers[l].gates + row * slots * hp, slots * hp, gates * hp / KW, p->layers[l].back_x};
    NAME(columns)(t, rows, 0, &back, 1, p->dy + row * hp);
}

static void NAME(take_gradient)(const task_t *t, const float *from, int64_t l, int64_t r0, int rows, float *to) {
    for (int m = 0; m < rows; m++)
        for (int64_t u = 0; u < t->padded; u++)
            to[m * t->padded + u] = from && u < t->hidden ? from[(l * t->batch + r0 + m) * t->hidden + u] : 0;
}

static void NAME(give_gradient)(const task_t *t, float *to, int64_t l, int64_t r0, int rows, const float *from) {
    for (int m = 0; to && m < rows; m++)
        memcpy(to + (l * t->batch + r0 + m) * t->hidden, from + m * t->padded, (size_t)t->hidden * 4);
}

/* The state carried in. */
static void NAME(begin)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t r0, int rows) {
    const NAME(layer) *at = &p->layers[l];
    for (int m = 0; m < rows; m++)
        for (int64_t u = 0; u < t->padded; u++) {
            const int64_t from = (l * t->batch + r0 + m) * t->hidden + u, to = (r0 + m) * t->padded + u;
            const int real = u < t->hidden;
            at->hs[to] = NAME(to_el)(real ? t->h0[from] : 0);
            if (at->c) at->c[to] = real ? t->cell == LSTM ? t->c0[from] : t->h0[from] : 0;
        }
}
