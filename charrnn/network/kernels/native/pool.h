/* Threads that share pieces of work. Nobody waits for a thread, only for a piece that was begun: where a thread does not
   get a CPU, on a busy machine or within a quota, the caller does all the pieces itself. */
#ifndef CHARRNN_POOL_H
#define CHARRNN_POOL_H
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

typedef void piece_t(const void *job, int64_t index, int thread);

#define WORKERS_MAX 1023
#define SPINS 2000 /* some 50 microseconds: as long as the caller needs between two lots within an iteration */

/* A lot of pieces: which lot (24 bits), how many pieces (20), the next one (20). In one word, so that a worker that
   comes late can never take a piece of another lot than the one it has read. */
#define LOT(n, count) (((uint64_t)(n) << 40) | ((uint64_t)(count) << 20))
#define COUNT(lot) ((int64_t)((lot) >> 20 & 0xfffff))
#define NEXT(lot) ((int64_t)((lot) & 0xfffff))
#define PIECES_MAX 0xfffff

static struct {
    _Atomic uint64_t lot;
    _Atomic int64_t done;
    _Atomic int asleep, busy;
    _Atomic(piece_t *) piece;
    const void *_Atomic job;
    _Atomic int threads;
    int workers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Does pieces until none is left. */
static void pool_work(int thread) {
    for (;;) {
        uint64_t lot = atomic_load(&pool.lot);
        if (NEXT(lot) >= COUNT(lot) || thread >= atomic_load(&pool.threads)) return;
        piece_t *piece = atomic_load(&pool.piece);
        const void *job = atomic_load(&pool.job);
        if (!atomic_compare_exchange_strong(&pool.lot, &lot, lot + 1)) continue;
        piece(job, NEXT(lot), thread);
        atomic_fetch_add(&pool.done, 1);
    }
}

static void *pool_worker(void *number) {
    uint64_t seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&pool.lot) >> 40 == seen; i++) relax();
        if (atomic_load(&pool.lot) >> 40 == seen) {
            pthread_mutex_lock(&pool.mutex);
            atomic_fetch_add(&pool.asleep, 1);
            while (atomic_load(&pool.lot) >> 40 == seen) pthread_cond_wait(&pool.wake, &pool.mutex);
            atomic_fetch_sub(&pool.asleep, 1);
            pthread_mutex_unlock(&pool.mutex);
        }
        seen = atomic_load(&pool.lot) >> 40;
        pool_work((int)(intptr_t)number);
    }
    return 0;
}

static void pool_grow(int threads) {
    while (pool.workers < threads - 1 && pool.workers < WORKERS_MAX) {
        pthread_t thread;
        if (pthread_create(&thread, 0, pool_worker, (void *)(intptr_t)(pool.workers + 1))) return; /* fewer will do */
        pthread_detach(thread);
        pool.workers++;
    }
}

/* piece(job, index, thread) for every index below count; thread is below `threads`. A caller that finds the pool in use
   by another one, and a child process, which has no workers, do all pieces alone. */
static void share(int64_t threads, int64_t count, piece_t *piece, const void *job) {
    int idle = 0;
    if (threads > 1 && count > 1 && count <= PIECES_MAX && atomic_compare_exchange_strong(&pool.busy, &idle, 1)) {
        pool_grow((int)threads);
        atomic_store(&pool.threads, (int)threads);
        atomic_store(&pool.piece, piece);
        atomic_store(&pool.job, job);
        atomic_store(&pool.done, 0);
        atomic_store(&pool.lot, LOT((atomic_load(&pool.lot) >> 40) + 1, count));
        if (atomic_load(&pool.asleep)) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_broadcast(&pool.wake);
            pthread_mutex_unlock(&pool.mutex);
        }
        pool_work(0);
        for (int i = 0; atomic_load(&pool.done) < count; i++) {
            relax();
            if (i > SPINS) sched_yield(); /* its worker may need this very CPU */
        }
        atomic_store(&pool.busy, 0);
        return;
    }
    for (int64_t i = 0; i < count; i++) piece(job, i, 0);
}
#endif
