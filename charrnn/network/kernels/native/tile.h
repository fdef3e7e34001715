/* The tile unit (AMX): eight tiles of up to 16 rows of 64 bytes, and products of them in bfloat16.

   Five operations: configure, zero, load, store, product. Where the CPU has the unit they are its instructions;
   with -DEMULATE_TILES they are plain C that gives the same bits, so that every path can be tested on any CPU.
   The layout of the configuration is that of LDTILECFG in Intel's manual. */
#ifndef CHARRNN_TILE_H
#define CHARRNN_TILE_H
#include <stdint.h>

#if defined(EMULATE_TILES) || (defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__))
#define TILES 1
#else
#define TILES 0
#endif

#define TILE_ROWS 16
#if TILES
#define TILE_WORDS 16 /* of 32 bits, in a row */

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config_t;

#ifdef EMULATE_TILES
#include <math.h>
#include <string.h>
static int tiles_allowed = 1;
static _Thread_local struct {
    tile_config_t config;
    uint32_t words[8][TILE_ROWS][TILE_WORDS];
} unit;

static void tile_configure(const tile_config_t *config) { unit.config = *config; }
static void tile_release(void) {}

/* Denormals count as zeros, in what is read and in what is written. */
static float flushed(uint32_t bits) {
    float x;
    if (!(bits & 0x7f800000u)) bits &= 0x80000000u;
    memcpy(&x, &bits, 4);
    return x;
}
static float flush(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return flushed(bits);
}

static void emulate_zero(int t) { memset(unit.words[t], 0, sizeof unit.words[t]); }
static void emulate_load(int t, const void *from, int64_t stride) {
    emulate_zero(t);
    for (int r = 0; r < unit.config.rows[t]; r++)
        memcpy(unit.words[t][r], (const char *)from + r * stride, unit.config.row_bytes[t]);
}
static void emulate_store(int t, void *to, int64_t stride) {
    for (int r = 0; r < unit.config.rows[t]; r++)
        memcpy((char *)to + r * stride, unit.words[t][r], unit.config.row_bytes[t]);
}
/* c += a b: the even and the odd elements of a row are summed apart, from zero and in order, then added. */
static void emulate_product(int c, int a, int b) {
    for (int m = 0; m < unit.config.rows[c]; m++)
        for (int n = 0; n < unit.config.row_bytes[c] / 4; n++) {
            float even = 0, odd = 0, before;
            for (int k = 0; k < unit.config.row_bytes[a] / 4; k++) {
                const uint32_t x = unit.words[a][m][k], y = unit.words[b][k][n];
                even = flush(fmaf(flushed(x << 16), flushed(y << 16), even));
                odd = flush(fmaf(flushed(x & 0xffff0000u), flushed(y & 0xffff0000u), odd));
            }
            memcpy(&before, &unit.words[c][m][n], 4);
            before = flush(flush(before) + flush(even + odd));
            memcpy(&unit.words[c][m][n], &before, 4);
        }
}
#define tile_zero(t) emulate_zero(t)
#define tile_load(t, from, stride) emulate_load(t, from, stride)
#define tile_store(t, to, stride) emulate_store(t, to, stride)
#define tile_product(c, a, b) emulate_product(c, a, b)

#else
#include <sys/syscall.h>
#include <unistd.h>
/* Linux gives the unit to a process that asks for it; one that did not ask is ended by the first instruction. A
   refusal (an old kernel, a sandbox, a signal stack that is too small) leaves the vector kernels. */
static int tiles_allowed;
static __attribute__((constructor)) void ask_for_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    tiles_allowed = !syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA);
}
/* Own assembly: gcc 12 takes too little of the configuration for read, and lets stores pass its tile loads. */
static inline void tile_configure(const tile_config_t *config) {
    __asm__ volatile("ldtilecfg %0" ::"m"(*config) : "memory");
}
static inline void tile_release(void) { __asm__ volatile("tilerelease" ::: "memory"); }
#define tile_zero(t) __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define tile_load(t, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((int64_t)(stride)) : "memory")
#define tile_store(t, to, stride) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((int64_t)(stride)) : "memory")
#define tile_product(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")
#endif

/* Tiles 0 to 3: the sums of up to 32 rows by 32 columns (0 and 1: the first 16 rows). 4, 5: the rows of the left
   factor. 6, 7: 16 words of the right one, by 32 columns. */
static void tile_shape(int rows) {
    tile_config_t config = {.palette = 1};
    const int first = rows < TILE_ROWS ? rows : TILE_ROWS, second = rows - first;
    for (int t = 0; t < 8; t++) {
        config.rows[t] = (uint8_t)(t > 5 ? TILE_ROWS : t == 0 || t == 1 || t == 4 ? first : second);
        config.row_bytes[t] = config.rows[t] ? 4 * TILE_WORDS : 0;
    }
    tile_configure(&config);
}
#else
enum { tiles_allowed = 0 };
static void tile_shape(int rows) { (void)rows; }
static void tile_release(void) {}
#endif
#endif
