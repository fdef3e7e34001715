/* Included once a precision: the stack of layers with the decoder and the loss, forward and backward.

   Groups of rows go through all layers and steps on their own, so that there is nothing to wait for but the end. No
   sum depends on how many threads there are or on which of them does what: results are the same to the bit. */

int64_t NAME(workspace)(const task_t *t) {
    NAME(plan) p;
    NAME(lay_out)(&p, t);
    return p.bytes;
}

void NAME(forward)(const task_t *t) {
    NAME(plan) p;
    NAME(lay_out)(&p, t);
    NAME(pack_forward)(t, &p);
    const int64_t groups = groups_of(t);
#pragma omp parallel for schedule(dynamic) num_threads(t->threads)
    for (int64_t i = 0; i < groups; i++) {
        const int64_t r0 = t->batch * i / groups;
        const int rows = (int)(t->batch * (i + 1) / groups - r0);
        float *scratch = (float *)(p.scratch + omp_get_thread_num() * p.scratch_each);
        for (int64_t l = 0; l < t->layers; l++) {
            NAME(begin)(t, &p, l, r0, rows);
            if (t->cell == LSTM)
                NAME(lstm_forward)(t, &p, l, r0, rows, scratch);
            else if (t->cell == RNN)
                NAME(rnn_forward)(t, &p, l, r0, rows, scratch);
            else
                NAME(gru_forward)(t, &p, l, r0, rows, scratch);
        }
        if (t->outputs) NAME(decode)(t, &p, r0, rows, scratch);
        NAME(give_output)(t, &p, r0, rows);
    }
}

void NAME(backward)(const task_t *t) {
    NAME(plan) p;
    NAME(lay_out)(&p, t);
    NAME(pack_backward)(t, &p);
    const int64_t groups = groups_of(t), gates = gates_of(t), chunks = (t->padded + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(dynamic) num_threads(t->threads)
    for (int64_t i = 0; i < groups; i++) {
        const int64_t r0 = t->batch * i / groups;
        const int rows = (int)(t->batch * (i + 1) / groups - r0);
        float *scratch = (float *)(p.scratch + omp_get_thread_num() * p.scratch_each);
        NAME(decode_back)(t, &p, r0, rows);
        for (int64_t l = t->layers - 1; l >= 0; l--) {
            if (t->cell == LSTM)
                NAME(lstm_backward)(t, &p, l, r0, rows, scratch);
            else if (t->cell == RNN)
                NAME(rnn_backward)(t, &p, l, r0, rows, scratch);
            else
                NAME(gru_backward)(t, &p, l, r0, rows, scratch);
        }
    }
    const int64_t each = gates * chunks, all = t->layers * each, more = (t->outputs_padded + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(dynamic) num_threads(t->threads)
    for (int64_t i = 0; i < all + more; i++) {
        char *scratch = p.scratch + omp_get_thread_num() * p.scratch_each;
        const int64_t from = (i < all ? i % chunks : i - all) * CHUNK;
        if (i < all) /* the last layers first: they are more work than the first one */
            NAME(gate_gradients)(t, &p, t->layers - 1 - i / each, i % each / chunks, from,
                                 within(t->padded - from, CHUNK), scratch);
        else
            NAME(decoder_gradients)(t, &p, from, within(t->outputs_padded - from, CHUNK), scratch);
    }
}
