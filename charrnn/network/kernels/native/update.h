/* The optimiser's step in one pass over memory: bound the gradients, RMSprop or Adam, the norms.

   The arithmetic is that of charrnn/training/optimisation.py on PyTorch's vector kernels, operation by operation; only
   the square root differs, by at most its last bit (MKL's against the processor's). Nothing is summed across pieces
   except the norms, whose pieces do not depend on the number of threads. */
#ifndef CHARRNN_UPDATE_H
#define CHARRNN_UPDATE_H
#include "pool.h"
#include "vector.h"
#include <math.h>

enum { RMSPROP, ADAM };
#define PIECE 16384 /* elements */

/* Kept in step with `Update` in update.py. Arrays are float [n]. */
typedef struct {
    int64_t n, threads;
    int32_t method;
    float limit;     /* of each gradient's size; 0: none */
    float share;     /* what gradients are multiplied with first: 1, or less where their norm is bounded */
    float kept, new; /* of the mean of squares, and of a new square */
    float mean_new;  /* Adam: of a new gradient in the mean */
    float root;      /* Adam: what the root of the mean of squares is divided by */
    float rate;      /* negative; of Adam, divided by its other correction */
    float decay;     /* negative: rate times weight decay; 0: none */
    float *values, *gradients, *square, *mean;
    const float *decayed; /* 1 where weight decay applies */
    double *squares;      /* [pieces][2], or null: sums of the squares of gradients as used, and of new values */
} update_t;

INLINE vf fused(vf a, vf b, vf c) { /* a b + c, rounded once where the processor can */
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && VL == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}
INLINE vf root_of(vf x) {
    for (int i = 0; i < VL; i++) x[i] = sqrtf(x[i]);
    return x;
}

INLINE void update_vector(const update_t *u, int64_t i, vf *g, vf *x) {
    *g *= u->share;
    if (u->limit > 0) *g = vmin(splat(u->limit), vmax(splat(-u->limit), *g));
    if (u->decay < 0) *x = fused(splat(u->decay), *x * load(u->decayed + i), *x);
    const vf square = fused(u->new * *g, *g, load(u->square + i) * u->kept);
    vf root = root_of(square), step = *g;
    store(u->square + i, square);
    if (u->method == ADAM) {
        const vf mean = load(u->mean + i);
        step = u->mean_new < 0.5f ? fused(splat(u->mean_new), *g - mean, mean)
                                  : fused(splat(u->mean_new - 1.0f), *g - mean, *g);
        store(u->mean + i, step);
        root = root / u->root;
    }
    *x += u->rate * step / (root + 1e-8f);
}

static void update_piece(const void *job, int64_t piece, int thread) {
    const update_t *u = job;
    const int64_t end = u->n < (piece + 1) * PIECE ? u->n : (piece + 1) * PIECE;
    vf gradients = {0}, values = {0}, g, x;
    int64_t i = piece * PIECE;
    (void)thread;
    for (; i + VL <= end; i += VL) {
        g = load(u->gradients + i), x = load(u->values + i);
        update_vector(u, i, &g, &x);
        store(u->gradients + i, g);
        store(u->values + i, x);
        gradients += g * g, values += x * x;
    }
    if (i < end) { /* less than a vector: in copies that are whole */
        float *arrays[] = {u->gradients, u->values, u->square, u->mean, (float *)u->decayed}, copies[5][VL] = {{0}};
        const size_t bytes = (size_t)(end - i) * 4;
        for (int k = 0; k < 5; k++)
            if (arrays[k]) memcpy(copies[k], arrays[k] + i, bytes);
        update_t rest = *u;
        rest.square = copies[2], rest.mean = copies[3], rest.decayed = copies[4];
        g = load(copies[0]), x = load(copies[1]);
        update_vector(&rest, 0, &g, &x);
        store(copies[0], g);
        store(copies[1], x);
        for (int k = 0; k < 4; k++)
            if (arrays[k]) memcpy(arrays[k] + i, copies[k], bytes);
        gradients += g * g, values += x * x;
    }
    if (u->squares) u->squares[2 * piece] = sum(gradients), u->squares[2 * piece + 1] = sum(values);
}

static void measure_piece(const void *job, int64_t piece, int thread) {
    const update_t *u = job;
    const int64_t end = u->n < (piece + 1) * PIECE ? u->n : (piece + 1) * PIECE;
    vf squares = {0};
    float rest = 0;
    int64_t i = piece * PIECE;
    (void)thread;
    for (; i + VL <= end; i += VL) squares += load(u->gradients + i) * load(u->gradients + i);
    for (; i < end; i++) rest += u->gradients[i] * u->gradients[i];
    u->squares[2 * piece] = sum(squares) + rest;
}

int64_t update_bytes(void) { return sizeof(update_t); }
int64_t update_pieces(int64_t n) { return (n + PIECE - 1) / PIECE; }
void update(const update_t *u) { share(u->threads, update_pieces(u->n), update_piece, u); }
/* Sums of the squares of the gradients, a piece each, for a bound on the norm of the whole. */
void measure(const update_t *u) { share(u->threads, update_pieces(u->n), measure_piece, u); }
#endif
