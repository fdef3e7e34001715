/* Included once a precision: where everything lies in the workspace, and the packing of weights. */

typedef struct {
    uint32_t *x, *h;           /* forward panels of input and hidden weight */
    uint32_t *back_x, *back_h; /* panels of their transposes */
    float *bias;               /* [symbols or 1][gates * padded] */
    float *hidden_bias;        /* [padded], GRU_AFTER's n gate */
    el *hs;                    /* outputs before dropout [steps + 1, batch, padded]; the first is the state carried in */
    el *y;                     /* outputs after dropout [steps, batch, padded] */
    el *gates;                 /* [steps, batch, slots, padded]; in the backward pass, their gradients take their place */
    el *more;                  /* [steps, batch, padded]: LSTM: tanh(c); GRU_BEFORE: r·h */
    float *c;                  /* [steps + 1, batch, padded]: LSTM: c; GRU: h */
    float *dbias;              /* as bias, but slots in place of gates */
    float *dx, *dh;            /* gradients of the weights [gates * padded, padded] */
    uint32_t *pairs_h, *pairs_y, *pairs_more; /* of hs, y and more, for tiles: see tile_gradients.h */
} NAME(layer);

typedef struct {
    NAME(layer) layers[LAYERS_MAX];
    uint32_t *decoder, *back_decoder;
    float *decoder_bias, *ddecoder, *ddecoder_bias;
    el *dlogits; /* [steps, batch, outputs_padded] */
    float *dy;   /* [steps, batch, padded]: gradients of what a layer gives to the next one */
    char *scratch;
    int64_t scratch_each, bytes;
} NAME(plan);

static void NAME(lay_out)(NAME(plan) *p, const task_t *t) {
    arena_t a = {t->memory, 0};
    const int64_t rows = t->steps * t->batch, hp = t->padded, size = sizeof(el);
    const int64_t gates = gates_of(t), slots = slots_of(t);
    for (int64_t l = 0; l < t->layers; l++) {
        NAME(layer) *at = &p->layers[l];
        const int64_t symbols = l ? 1 : t->symbols;
        at->h = take(&a, gates * hp * hp * size);
        at->back_h = take(&a, gates * hp * hp * size);
        at->x = l ? take(&a, gates * hp * hp * size) : 0;
        at->back_x = l ? take(&a, gates * hp * hp * size) : 0;
        at->bias = take(&a, symbols * gates * hp * 4);
        at->hidden_bias = take(&a, hp * 4);
        at->hs = take(&a, (rows + t->batch) * hp * size);
        at->y = t->keep < 1 ? take(&a, rows * hp * size) : at->hs + t->batch * hp;
        at->gates = take(&a, rows * slots * hp * size);
        at->more = t->cell == LSTM || t->cell == GRU_BEFORE ? take(&a, rows * hp * size) : 0;
        at->c = t->cell == RNN ? 0 : take(&a, (rows + t->batch) * hp * 4);
        at->dbias = take(&a, symbols * slots * hp * 4);
        at->dx = l ? take(&a, gates * hp * hp * 4) : 0;
        at->dh = take(&a, gates * hp * hp * 4);
        const int64_t pairs = pair_words(t) * hp * 4;
        at->pairs_h = IN_TILES ? take(&a, pairs) : 0;
        at->pairs_y = IN_TILES && (t->keep < 1 || t->batch % 2) ? take(&a, pairs) : 0;
        at->pairs_more = IN_TILES && t->cell == GRU_BEFORE ? take(&a, pairs) : 0;
    }
    p->decoder = take(&a, t->outputs_padded * hp * size);
    p->back_decoder = take(&a, t->outputs_padded * hp * size);
    p->decoder_bias = take(&a, t->outputs_padded * 4);
    p->ddecoder = take(&a, t->outputs_padded * hp * 4);
    p->ddecoder_bias = take(&a, t->outputs_padded * 4);
    p->dlogits = take(&a, rows * t->outputs_padded * size);
    p->dy = take(&a, rows * hp * 4);
    const int64_t width = 4 * hp > t->outputs_padded ? 4 * hp : t->outputs_padded;
    const int64_t steps = GROUP_MAX * width * 4, products = WORDS_AT_ONCE * (CHUNK + hp) * 4 + 256;
    p->scratch_each = ((steps > products ? steps : products) + 255) & ~(int64_t)255;
    p->scratch = take(&a, p->scratch_each * t->threads);
    p->bytes = a.used;
}

/* A forward panel holds two vectors of units: which gate, and from which unit on. */
typedef struct {
    int64_t gate, unit;
} NAME(lane);
static int64_t NAME(forward_panels)(const task_t *t) { return gates_of(t) * t->padded / (2 * VL); }

static void NAME(lanes)(const task_t *t, int64_t panel, NAME(lane) lanes[2]) {
    const int64_t blocks = t->padded / VL;
    if (t->cell == LSTM) { /* (i, f), (g, o) of the same units */
        lanes[0] = (NAME(lane)){panel % 2 * 2, panel / 2 * VL};
        lanes[1] = (NAME(lane)){panel % 2 * 2 + 1, panel / 2 * VL};
    } else if (t->cell != RNN && panel < blocks) { /* (r, z) of the same units */
        lanes[0] = (NAME(lane)){0, panel * VL};
        lanes[1] = (NAME(lane)){1, panel * VL};
    } else { /* one gate's neighbouring units */
        const int64_t gate = t->cell == RNN ? 0 : 2, n = t->cell == RNN ? panel : panel - blocks;
        lanes[0] = (NAME(lane)){gate, n * 2 * VL};
        lanes[1] = (NAME(lane)){gate, n * 2 * VL + VL};
    }
}

/* out [k / KW][2 VL] words for sums over k of A[row, k] W[n, k]; n: lane j of half s is row base[s] + j. */
static void NAME(pack_rows)(uint32_t *out, const float *w, int64_t k, int64_t padded, const int64_t *base,
                            const int64_t *valid) {
    for (int s = 0; s < 2; s++)
        for (int64_t j = 0; j < VL; j++) {
            const float *row = w + (base[s] + j) * k;
            uint32_t *o = out + s * VL + j;
            const int64_t whole = j < valid[s] ? k / KW : 0;
            int64_t i = 0;
            for (; i < whole; i++) o[i * 2 * VL] = NAME(word)(row[i * KW], row[i * KW + KW - 1]);
            if (j < valid[s] && KW > 1 && k % KW) o[i++ * 2 * VL] = NAME(word)(row[k - 1], 0);
            for (; i < padded / KW; i++) o[i * 2 * VL] = 0;
        }
}

/* out [gates * padded / KW][2 VL] words for sums over the rows of W [gates * n, columns]; columns from `from` on. */
static void NAME(pack_columns)(uint32_t *out, const float *w, int64_t columns, int64_t gates, int64_t n,
                               int64_t padded, int64_t from) {
    const int64_t valid = within(columns - from, 2 * VL);
    for (int64_t g = 0; g < gates; g++)
        for (int64_t j = 0; j < padded; j += KW, out += 2 * VL) {
            const float *a = w + (g * n + j) * columns + from, *b = a + columns;
            const int first = j < n, second = KW > 1 && j + 1 < n;
            for (int64_t i = 0; i < 2 * VL; i++)
                out[i] = i < valid ? NAME(word)(first ? a[i] : 0, second ? b[i] : 0) : 0;
        }
}

static void NAME(pack_bias)(const task_t *t, const NAME(plan) *p, int64_t l, NAME(lane) lane) {
    const int64_t h = t->hidden, hp = t->padded, gates = gates_of(t), from = lane.gate * h;
    const float *b = t->weights[4 * l + 1] + from, *d = t->weights[4 * l + 3] + from;
    const int apart = t->cell == GRU_AFTER && lane.gate == 2; /* d is inside the product with r there */
    for (int64_t u = lane.unit; u < lane.unit + VL; u++) {
        const float v = u < h ? apart ? b[u] : b[u] + d[u] : 0;
        float *out = p->layers[l].bias + lane.gate * hp + u;
        if (apart) p->layers[l].hidden_bias[u] = u < h ? d[u] : 0;
        if (l)
            *out = v;
        else
            for (int64_t s = 0; s < t->symbols; s++, out += gates * hp)
                *out = u < h ? v + t->weights[0][(from + u) * t->symbols + s] : 0;
    }
}

static void NAME(pack_layer)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t panel) {
    const int64_t h = t->hidden, hp = t->padded, size = hp / KW * 2 * VL;
    NAME(lane) lanes[2];
    NAME(lanes)(t, panel, lanes);
    int64_t base[2], valid[2];
    for (int s = 0; s < 2; s++) {
        base[s] = lanes[s].gate * h + lanes[s].unit;
        valid[s] = within(h - lanes[s].unit, VL);
        NAME(pack_bias)(t, p, l, lanes[s]);
    }
    if (l) NAME(pack_rows)(p->layers[l].x + panel * size, t->weights[4 * l], h, hp, base, valid);
    NAME(pack_rows)(p->layers[l].h + panel * size, t->weights[4 * l + 2], h, hp, base, valid);
}

static void NAME(pack_decoder)(const task_t *t, const NAME(plan) *p, int64_t n) {
    const int64_t base[2] = {n, n + VL}, valid[2] = {within(t->outputs - n, VL), within(t->outputs - n - VL, VL)};
    const int64_t size = t->padded / KW;
    NAME(pack_rows)(p->decoder + n * size, t->weights[4 * t->layers], t->hidden, t->padded, base, valid);
    for (int64_t j = n; j < n + 2 * VL; j++) /* what is padding is never chosen */
        p->decoder_bias[j] = j < t->outputs ? t->weights[4 * t->layers + 1][j] : -1e30f;
}

/* What the pieces of work are given. */
typedef struct {
    const task_t *task;
    const NAME(plan) *plan;
} NAME(job);

static void NAME(pack_forward)(const void *job, int64_t i, int thread) {
    const task_t *t = ((const NAME(job) *)job)->task;
    const NAME(plan) *p = ((const NAME(job) *)job)->plan;
    const int64_t panels = NAME(forward_panels)(t), all = t->layers * panels;
    (void)thread;
    if (i < all)
        NAME(pack_layer)(t, p, i / panels, i % panels);
    else
        NAME(pack_decoder)(t, p, (i - all) * 2 * VL);
}

#if PRECISION == 16 && TILES
static void NAME(pack_factors)(const task_t *t, const NAME(plan) *p, int64_t l, int64_t n);
#endif

static int64_t NAME(backward_panels)(const task_t *t) {
    return (t->layers + (t->outputs > 0) + (IN_TILES ? t->layers : 0)) * t->padded / (2 * VL);
}

static void NAME(pack_backward)(const void *job, int64_t i, int thread) {
    const task_t *t = ((const NAME(job) *)job)->task;
    const NAME(plan) *p = ((const NAME(job) *)job)->plan;
    const int64_t h = t->hidden, hp = t->padded, gates = gates_of(t), panels = hp / (2 * VL);
    const int64_t size = gates * hp / KW * 2 * VL, l = i / panels, q = i % panels;
    (void)thread;
#if PRECISION == 16 && TILES
    if (l >= t->layers + (t->outputs > 0)) {
        NAME(pack_factors)(t, p, l - t->layers - (t->outputs > 0), q * 2 * VL);
        return;
    }
#endif
    if (l == t->layers) {
        NAME(pack_columns)(p->back_decoder + q * t->outputs_padded / KW * 2 * VL, t->weights[4 * l], h, 1, t->outputs,
                           t->outputs_padded, q * 2 * VL);
        return;
    }
    NAME(pack_columns)(p->layers[l].back_h + q * size, t->weights[4 * l + 2], h, gates, h, hp, q * 2 * VL);
    if (l) NAME(pack_columns)(p->layers[l].back_x + q * size, t->weights[4 * l], h, gates, h, hp, q * 2 * VL);
}
