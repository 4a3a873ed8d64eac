// Bisection for the CPU and the GPU alike. Not the library's: what nvcc 13.0 makes of
// std::lower_bound in a kernel skips its std::advance and finds the wrong place.
#pragma once

#include "kernels/base/philox.h"

namespace gsplit {

/// How many of ascending values[0 .. count) are at most `bound`.
template <class T, class Index>
GSPLIT_HOST_DEVICE constexpr Index count_up_to(const T* values, Index count, T bound) {
  Index begin = 0;
  while (count > 0) {
    const Index half = count / 2;
    if (values[begin + half] <= bound) {
      begin += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return begin;
}

}  // namespace gsplit
