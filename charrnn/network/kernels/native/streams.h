/* Text from a network: streams that advance symbol by symbol, in float32.

   The weights come arranged by stepping.Network: where a sigmoid is wanted, the halves of sigmoid(a) =
   (1 + tanh(a / 2)) / 2 are in the weights, and an LSTM's h is stored doubled. Their columns come in panels of 2 VL,
   [columns / 2 VL][inputs][2 VL]. Each sum is made in the order of its inputs, for one stream as for many: a stream's
   text has nothing to do with what is computed beside it. */

/* Kept in step with `_Layer` and `_Task` in kernels/streams.py. */
typedef struct {
    const float *hidden, *inputs, *candidate; /* panels; see stepping.Network for which cell has which */
    const float *bias, *candidate_bias;
} stream_layer_t;

typedef struct {
    int64_t cell, layers, streams, steps, threads;
    int64_t size;             /* units of a layer, a multiple of 2 VL */
    int64_t symbols, columns; /* of the decoder; rounded up to a multiple of 2 VL */
    double temperature;       /* 0: the likeliest symbol */
    const stream_layer_t *layer;
    const float *table; /* [symbols][gates * size]: what a symbol gives to the first layer */
    const float *decoder, *decoder_bias;
    float *states;         /* [streams][layers * size] */
    float *cells;          /* the same; LSTM only */
    float *logits;         /* [streams][columns]: in: after the last symbol; out: after the last one of these */
    float *scratch;        /* [streams][8 * size] */
    double *weights;       /* [streams][symbols] */
    const double *uniform; /* [streams][steps], from [0, 1); null: `chosen` is what the streams are fed with */
    int64_t *chosen;       /* [streams][steps] */
    int64_t *recent;       /* [streams][separator_length]: the last symbols */
    const int64_t *separator; /* of records: behind it, the state is zeroed */
    int64_t separator_length; /* 0: none */
} streams_t;

#define STREAMS_MAX 48 /* that take a step together: more would push their states out of the near cache */

typedef struct {
    const streams_t *s;
    int64_t first; /* stream */
    int rows;
    float *gates, *share, *more; /* [rows][4 size], [rows][3 size], [rows][size] */
} block_t;

/* Sums of one row: its two vectors of sums alone would wait for each other's multiplications, so four panels are done at
   once. */
INLINE void one_row(const float *init, const float *a, int64_t inputs, const float *panels, float *out) {
    vf acc[8];
    const int64_t next = inputs * 2 * VL;
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) acc[j] = load(init + j * VL);
    for (int64_t k = 0; k < inputs; k++, panels += 2 * VL)
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) acc[j] = acc[j] + a[k] * load(panels + j / 2 * next + j % 2 * VL);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) store(out + j * VL, acc[j]);
}

/* out[m][0..columns) = init[m] + a[m] times the panels. Each panel stays in the nearest cache for all rows. */
static void sums(int rows, const float *const *init, const float *a, int64_t stride, int64_t inputs, const float *panels,
                 int64_t columns, float *out, int64_t ld) {
    int64_t n = 0;
    for (; rows == 1 && n + 8 * VL <= columns; n += 8 * VL) one_row(*init + n, a, inputs, panels + n * inputs, out + n);
    for (; n < columns; n += 2 * VL) {
        part_fp32 part = {a, stride, inputs, (const uint32_t *)(panels + n * inputs)};
        product_fp32(rows, init, n, n + VL, &part, 1, out + n, ld, VL);
    }
}

static void same_for_all(int rows, const float *row, const float **init) {
    for (int m = 0; m < rows; m++) init[m] = row;
}

/* The states of a block's first stream. */
static float *state_of(const block_t *b, int64_t l) {
    return b->s->states + (b->first * b->s->layers + l) * b->s->size;
}

static void stream_lstm(const block_t *b, int64_t l, const float *const *init) {
    const streams_t *s = b->s;
    const int64_t size = s->size, stride = s->layers * size;
    float *h = state_of(b, l), *c = s->cells + (b->first * s->layers + l) * size;
    sums(b->rows, init, l ? h - size : h, stride, l ? 2 * size : size, s->layer[l].hidden, 4 * size, b->gates, 4 * size);
    for (int m = 0; m < b->rows; m++, h += stride, c += stride)
        for (int64_t u = 0; u < size; u += VL) { /* i, f and o are doubled, and so is h */
            const float *a = b->gates + m * 4 * size + u;
            const vf i = 1.0f + tanh_of_fp32(load(a)), f = 1.0f + tanh_of_fp32(load(a + size));
            const vf o = 1.0f + tanh_of_fp32(load(a + 2 * size)), g = tanh_of_fp32(load(a + 3 * size));
            const vf new = 0.5f * (f * load(c + u) + i * g);
            store(c + u, new);
            store(h + u, o * tanh_of_fp32(new));
        }
}

static void stream_rnn(const block_t *b, int64_t l, const float *const *init) {
    const streams_t *s = b->s;
    const int64_t size = s->size, stride = s->layers * size;
    float *h = state_of(b, l);
    sums(b->rows, init, l ? h - size : h, stride, l ? 2 * size : size, s->layer[l].hidden, size, b->gates, size);
    for (int m = 0; m < b->rows; m++, h += stride)
        for (int64_t u = 0; u < size; u += VL) store(h + u, tanh_of_fp32(load(b->gates + m * size + u)));
}

static void stream_gru(const block_t *b, int64_t l, const float *const *init) {
    const streams_t *s = b->s;
    const stream_layer_t *at = &s->layer[l];
    const int64_t size = s->size, stride = s->layers * size;
    const float *share[STREAMS_MAX], *inside[STREAMS_MAX];
    float *h = state_of(b, l);
    for (int m = 0; m < b->rows; m++) share[m] = l ? b->share + m * 3 * size : init[m];
    if (l) sums(b->rows, init, h - size, stride, size, at->inputs, 3 * size, b->share, 3 * size);
    sums(b->rows, share, h, stride, size, at->hidden, 2 * size, b->gates, 4 * size);
    for (int m = 0; m < b->rows; m++)
        for (int64_t u = 0; u < size; u += VL) { /* r and z are doubled */
            float *a = b->gates + m * 4 * size + u;
            const vf r = 1.0f + tanh_of_fp32(load(a));
            store(a, r);
            store(a + size, 1.0f + tanh_of_fp32(load(a + size)));
            store(b->more + m * size + u, r * load(h + m * stride + u));
        }
    if (s->cell == GRU_BEFORE) {
        for (int m = 0; m < b->rows; m++) share[m] += 2 * size;
        sums(b->rows, share, b->more, size, size, at->candidate, size, b->gates + 2 * size, 4 * size);
    } else {
        same_for_all(b->rows, at->candidate_bias, inside);
        sums(b->rows, inside, h, stride, size, at->hidden + 2 * size * size, size, b->gates + 2 * size, 4 * size);
    }
    for (int m = 0; m < b->rows; m++, h += stride)
        for (int64_t u = 0; u < size; u += VL) {
            const float *a = b->gates + m * 4 * size + u;
            vf n = load(a + 2 * size);
            if (s->cell == GRU_AFTER) n = load(a) * n + load(share[m] + 2 * size + u);
            n = tanh_of_fp32(n);
            store(h + u, n + 0.5f * load(a + size) * (load(h + u) - n));
        }
}

/* As `Choice.choose` in charrnn/sampling/generation.py: the first symbol whose running sum of weights is beyond the drawn one. */
static int64_t choose(const float *logits, int64_t symbols, double temperature, double uniform, double *weights) {
    int64_t best = 0;
    for (int64_t i = 1; i < symbols; i++) best = logits[i] > logits[best] ? i : best;
    if (temperature == 0) return best;
    const double top = logits[best];
    double total = 0;
    for (int64_t i = 0; i < symbols; i++) weights[i] = total += __builtin_exp((logits[i] - top) / temperature);
    const double drawn = uniform * total;
    int64_t chosen = 0;
    while (chosen < symbols - 1 && weights[chosen] <= drawn) chosen++;
    return chosen;
}

/* As `Records.begun` in charrnn/network/inference.py, for one stream. */
static int begins_record(const streams_t *s, int64_t stream, int64_t symbol) {
    const int64_t n = s->separator_length;
    int64_t *recent = s->recent + stream * n;
    int begins = 1;
    for (int64_t i = 0; i < n; i++) begins &= recent[i] == s->separator[i];
    for (int64_t i = 1; i < n; i++) recent[i - 1] = recent[i];
    recent[n - 1] = symbol;
    return begins;
}

static void forget(const streams_t *s, int64_t stream) {
    const int64_t width = s->layers * s->size;
    for (int64_t u = stream * width; u < (stream + 1) * width; u++) s->states[u] = s->cells[u] = 0;
}

static void stream_step(block_t *b, int64_t step) {
    const streams_t *s = b->s;
    const int64_t gates = s->cell == LSTM ? 4 : s->cell == RNN ? 1 : 3;
    const float *init[STREAMS_MAX];
    for (int m = 0; m < b->rows; m++) {
        const int64_t stream = b->first + m, at = stream * s->steps + step;
        if (s->uniform)
            s->chosen[at] = choose(s->logits + stream * s->columns, s->symbols, s->temperature, s->uniform[at],
                                   s->weights + stream * s->symbols);
        if (s->separator_length && begins_record(s, stream, s->chosen[at])) forget(s, stream);
        init[m] = s->table + s->chosen[at] * gates * s->size;
    }
    for (int64_t l = 0; l < s->layers; l++) {
        if (l) same_for_all(b->rows, s->layer[l].bias, init);
        if (s->cell == LSTM)
            stream_lstm(b, l, init);
        else if (s->cell == RNN)
            stream_rnn(b, l, init);
        else
            stream_gru(b, l, init);
    }
    same_for_all(b->rows, s->decoder_bias, init);
    sums(b->rows, init, state_of(b, s->layers - 1), s->layers * s->size, s->size, s->decoder, s->columns,
         s->logits + b->first * s->columns, s->columns);
}

/* Blocks are as many as there are threads, or more where they would be too large. */
static int64_t blocks_of(const streams_t *s) {
    const int64_t threads = s->threads < s->streams ? s->threads : s->streams;
    const int64_t needed = (s->streams + STREAMS_MAX - 1) / STREAMS_MAX;
    return needed > threads ? needed : threads;
}

static void advance_block(const void *job, int64_t i, int thread) {
    const streams_t *s = job;
    const int64_t blocks = blocks_of(s), first = s->streams * i / blocks;
    float *scratch = s->scratch + first * 8 * s->size;
    block_t b = {.s = s, .first = first, .rows = (int)(s->streams * (i + 1) / blocks - first)};
    (void)thread;
    b.gates = scratch;
    b.share = scratch + b.rows * 4 * s->size;
    b.more = scratch + b.rows * 7 * s->size;
    for (int64_t step = 0; step < s->steps; step++) stream_step(&b, step);
}

void advance_streams(const streams_t *s) { share(s->threads, blocks_of(s), advance_block, s); }
int64_t streams_bytes(void) { return sizeof(streams_t); }
