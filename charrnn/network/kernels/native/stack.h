/* Included once a precision: the stack of layers with the decoder and the loss, forward and backward.

   Groups of rows go through all layers and steps on their own, so that there is nothing to wait for but the end. No
   sum depends on how many threads there are or on which of them does what: results are equal bit for bit. */

int64_t NAME(workspace)(const task_t *t) {
    NAME(plan) p;
    NAME(lay_out)(&p, t);
    return p.bytes;
}

/* A tile of rows is a group, so that there is little to wait for at the end. But weights that do not fit a core's cache
   are read anew for each group: where they are large, several tiles go together. */
#define CACHE (1 << 20) /* bytes */
static int64_t NAME(groups)(const task_t *t) {
    const int64_t weights = 2 * gates_of(t) * t->padded * t->padded * (int64_t)sizeof(el);
    const int64_t each = t->threads * (IN_TILES ? 2 * TILE_ROWS : weights > CACHE ? GROUP_MAX : MAX_ROWS);
    const int64_t n = (t->batch + each - 1) / each * t->threads;
    return n < t->batch ? n : t->batch;
}

static void NAME(forward_group)(const void *job, int64_t i, int thread) {
    const task_t *t = ((const NAME(job) *)job)->task;
    const NAME(plan) *p = ((const NAME(job) *)job)->plan;
    const int64_t groups = NAME(groups)(t), r0 = t->batch * i / groups;
    const int rows = (int)(t->batch * (i + 1) / groups - r0);
    float *scratch = (float *)(p->scratch + thread * p->scratch_each);
    if (IN_TILES) tile_shape(rows);
    for (int64_t l = 0; l < t->layers; l++) {
        NAME(begin)(t, p, l, r0, rows);
        if (t->cell == LSTM)
            NAME(lstm_forward)(t, p, l, r0, rows, scratch);
        else if (t->cell == RNN)
            NAME(rnn_forward)(t, p, l, r0, rows, scratch);
        else
            NAME(gru_forward)(t, p, l, r0, rows, scratch);
    }
    if (t->outputs) NAME(decode)(t, p, r0, rows, scratch);
    if (IN_TILES) tile_release();
    NAME(give_output)(t, p, r0, rows);
}

static void NAME(backward_group)(const void *job, int64_t i, int thread) {
    const task_t *t = ((const NAME(job) *)job)->task;
    const NAME(plan) *p = ((const NAME(job) *)job)->plan;
    const int64_t groups = NAME(groups)(t), r0 = t->batch * i / groups;
    const int rows = (int)(t->batch * (i + 1) / groups - r0);
    float *scratch = (float *)(p->scratch + thread * p->scratch_each);
    if (IN_TILES) tile_shape(rows);
    NAME(decode_back)(t, p, r0, rows);
    for (int64_t l = t->layers - 1; l >= 0; l--) {
        if (t->cell == LSTM)
            NAME(lstm_backward)(t, p, l, r0, rows, scratch);
        else if (t->cell == RNN)
            NAME(rnn_backward)(t, p, l, r0, rows, scratch);
        else
            NAME(gru_backward)(t, p, l, r0, rows, scratch);
    }
    if (IN_TILES) tile_release();
}

static void NAME(gradient_chunk)(const void *job, int64_t i, int thread) {
    const task_t *t = ((const NAME(job) *)job)->task;
    const NAME(plan) *p = ((const NAME(job) *)job)->plan;
    const int64_t chunks = chunks_of(t->padded), each = gates_of(t) * chunks, all = t->layers * each;
    const int64_t from = (i < all ? i % chunks : i - all) * CHUNK;
    char *scratch = p->scratch + thread * p->scratch_each;
    if (i < all) /* the last layers first: they are more work than the first one */
        NAME(gate_gradients)(t, p, t->layers - 1 - i / each, i % each / chunks, from, within(t->padded - from, CHUNK),
                             scratch);
    else
        NAME(decoder_gradients)(t, p, from, within(t->outputs_padded - from, CHUNK), scratch);
}

/* Returns 0; otherwise a symbol is not in the vocabulary, and nothing was done. */
int NAME(forward)(const task_t *t) {
    NAME(plan) p;
    const NAME(job) job = {t, &p};
    if (!symbols_are_known(t)) return 1;
    NAME(lay_out)(&p, t);
    share(t->threads, t->layers * NAME(forward_panels)(t) + t->outputs_padded / (2 * VL), NAME(pack_forward), &job);
    share(t->threads, NAME(groups)(t), NAME(forward_group), &job);
    return 0;
}

void NAME(backward)(const task_t *t) {
    NAME(plan) p;
    const NAME(job) job = {t, &p};
    NAME(lay_out)(&p, t);
    share(t->threads, NAME(backward_panels)(t), NAME(pack_backward), &job);
    share(t->threads, NAME(groups)(t), NAME(backward_group), &job);
    share(t->threads, t->layers * gates_of(t) * chunks_of(t->padded) + chunks_of(t->outputs_padded),
          NAME(gradient_chunk), &job);
}
