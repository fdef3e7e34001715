/* What the caller asks for, and how the workspace is dealt out. */
#ifndef CHARRNN_TASK_H
#define CHARRNN_TASK_H
#include "pool.h"
#include "tile.h"
#include "vector.h"

#if defined(__AVX512BF16__) || defined(EMULATE_TILES)
#define BF16 1 /* whether there are products in bfloat16 */
#else
#define BF16 0
#endif

enum { LSTM, GRU_BEFORE, GRU_AFTER, RNN };
#define LAYERS_MAX 64

/* Kept in step with `Task` in compiled.py. Arrays are float unless said otherwise, and contiguous. */
typedef struct {
    int64_t cell, steps, batch, layers, hidden;
    int64_t padded;                  /* hidden, rounded up to a multiple of 2 VL, so that no loop has a remainder */
    int64_t symbols;                 /* columns of the first layer's input weight */
    int64_t outputs, outputs_padded; /* of the decoder; 0: no decoder, the stack's outputs are wanted */
    int64_t threads;
    float keep;     /* 1 - dropout of each layer's outputs */
    float scale;    /* of the loss's gradient, a character */
    uint32_t seed;  /* of the dropout masks */
    int32_t locked; /* whether a mask holds for the whole window, not for one step */
    const int64_t *tokens, *targets; /* [batch, steps] */
    const float *const *weights;     /* a layer: input weight and bias, hidden weight and bias; decoder weight, bias */
    float *const *gradients;         /* in the same order */
    const float *h0, *c0;            /* [layers, batch, hidden]; c0: LSTM only */
    float *hn, *cn;
    float *dh, *dc;       /* in: gradients of hn and cn; out: of h0 and c0. Or null */
    float *output;        /* [batch, steps, hidden], or null */
    const float *doutput; /* its gradient */
    float *loss;          /* [batch, steps], nats */
    char *memory;         /* the workspace */
    int64_t add;          /* whether gradients are added to what is there */
} task_t;

static int64_t gates_of(const task_t *t) { return t->cell == LSTM ? 4 : t->cell == RNN ? 1 : 3; }

/* What is kept of each step for the backward pass, in units of `padded`: the gates, and U h + d of a GRU's n gate. */
static int64_t slots_of(const task_t *t) { return t->cell == GRU_AFTER ? 4 : gates_of(t); }

typedef struct {
    char *base;
    int64_t used;
} arena_t;

static void *take(arena_t *a, int64_t bytes) {
    void *p = a->base + a->used;
    a->used += (bytes + 64 + 255) & ~(int64_t)255; /* 64 more: the last vector may be read past its end */
    return p;
}

static int64_t within(int64_t n, int64_t limit) { return n < 0 ? 0 : n > limit ? limit : n; }

#define WORDS_AT_ONCE 128 /* of the summed dimension, in the gradients of the weights */
#define CHUNK 128         /* rows of a weight's gradient that are one piece of work */
static int64_t chunks_of(int64_t columns) { return (columns + CHUNK - 1) / CHUNK; }

static int all_below(const int64_t *ids, int64_t count, int64_t limit) {
    uint64_t all = 0;
    for (int64_t i = 0; i < count; i++) all |= (uint64_t)((uint64_t)ids[i] >= (uint64_t)limit);
    return !all;
}

/* Whether symbols and targets are in their vocabularies: the kernels trust them. */
static int symbols_are_known(const task_t *t) {
    const int64_t count = t->batch * t->steps;
    return all_below(t->tokens, count, t->symbols) && (!t->outputs || all_below(t->targets, count, t->outputs));
}

/* Words of two rows each, in a panel of all rows of all steps and those of a state before or after them. */
static int64_t pair_words(const task_t *t) {
    const int64_t words = (t->steps * t->batch + 1) / 2;
    return (words + WORDS_AT_ONCE - 1) / WORDS_AT_ONCE * WORDS_AT_ONCE + (t->batch + 1) / 2;
}
#endif
