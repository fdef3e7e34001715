/* The recurrent stack of a character-level network over a whole window: forward, loss, backward.

   Compiled on the host that uses it, for its own instruction set, and called through ctypes (compiled.py). It
   needs the C library and nothing else. Sampling has a way of its own through the same layers (streams.h). */
#include "task.h"
#include "update.h"

#define PRECISION 32
#include "all.h"
#include "streams.h"
#if BF16
#define PRECISION 16
#include "all.h"
#endif

int has_bf16(void) {
#if BF16
    return 1;
#else
    return 0;
#endif
}
int64_t granule(void) { return 2 * VL; }
int64_t task_bytes(void) { return sizeof(task_t); }
/* Whether this process may use the tile unit. */
int has_tiles(void) { return tiles_allowed; }
