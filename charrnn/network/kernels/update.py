"""The optimiser's step by the compiled kernels: bounds, RMSprop or Adam, and norms in one pass over memory."""

import ctypes

_I64, _F32, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
RMSPROP, ADAM = 0, 1


class Update(ctypes.Structure):
    """`update_t` of native/update.h, where each field is described."""

    _fields_ = (
        ("n", _I64),
        ("threads", _I64),
        ("method", ctypes.c_int32),
        *((name, _F32) for name in ("limit", "share", "kept", "new", "mean_new", "root", "rate", "decay")),
        *((name, _POINTER) for name in ("values", "gradients", "square", "mean", "decayed", "squares")),
    )
