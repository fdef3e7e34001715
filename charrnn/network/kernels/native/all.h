#include "element.h"
#include "plan.h"
#include "steps.h"
#include "lstm.h"
#include "gru.h"
#include "rnn.h"
#include "decoder.h"
#if PRECISION == 16 && TILES
#include "tile_gradients.h"
#endif
#include "gradients.h"
#include "stack.h"
#undef PRECISION
#undef NAME
#undef KW
#undef IN_TILES
#undef el
