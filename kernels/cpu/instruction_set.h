// Hot loops compiled once per instruction set and chosen at run time, without a translation unit
// for each: a body that is always inlined takes the instruction set of the function that calls it.
// Multiply and add are not contracted, so all instruction sets compute the same bits.
#pragma once

#include <utility>

namespace gsplit::cpu {

/// Marks the lambda that goes to with_best_instructions, and what it calls, for it to take effect:
/// `[&]() GSPLIT_INLINE_BODY { ... }`.
#define GSPLIT_INLINE_BODY __attribute__((always_inline))

#if defined(__x86_64__)

// clang takes the width of vectors from the processor it tunes for.
#if defined(__clang__)
#define GSPLIT_WIDE_VECTORS ""
#else
#define GSPLIT_WIDE_VECTORS ",prefer-vector-width=512"
#endif

enum class InstructionSet { kBaseline, kV3, kV4 };  ///< x86-64, x86-64-v3, x86-64-v4

inline InstructionSet best_instruction_set() {
  static const InstructionSet best = [] {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2")) {
      return InstructionSet::kBaseline;
    }
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? InstructionSet::kV4 : InstructionSet::kV3;
  }();
  return best;
}

template <class F>
[[gnu::target("avx2,fma,bmi,bmi2,f16c")]] void run_v3(F& body) {
  body();
}

template <class F>
[[gnu::target(
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi,bmi2,f16c" GSPLIT_WIDE_VECTORS)]] void
run_v4(F& body) {
  body();
}

/// Calls body() compiled for the best instruction set that this processor has.
template <class F>
void with_best_instructions(F&& body) {
  switch (best_instruction_set()) {
    case InstructionSet::kV4:
      return run_v4(body);
    case InstructionSet::kV3:
      return run_v3(body);
    case InstructionSet::kBaseline:
      return body();
  }
}

#else

template <class F>
void with_best_instructions(F&& body) {
  body();
}

#endif

}  // namespace gsplit::cpu
