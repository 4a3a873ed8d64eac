// Rows of storage types to fp32, as fast as memory delivers them.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace gsplit::cpu {

/// to[i] = from[i], exactly, for `count` elements. With AVX2 and F16C where the processor has them.
void widen(const Half* from, float* to, std::int64_t count);
void widen(const BFloat16* from, float* to, std::int64_t count);

}  // namespace gsplit::cpu
