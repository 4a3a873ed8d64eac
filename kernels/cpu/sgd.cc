#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;  // elements per chunk

template <class T>
void update(const SgdArgs& args, const Team& team) {
  const T rate = static_cast<T>(args.learning_rate), decay = static_cast<T>(args.weight_decay);
  const T momentum = static_cast<T>(args.momentum);
  T* const w = args.parameters.row<T>(0);
  const T* const gradients = args.gradients.row<T>(0);
  T* const velocity = args.momentum == 0 ? nullptr : args.velocity.row<T>(0);
  for_ranges(team, args.parameters.cols, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T g = gradients[i] + decay * w[i];
      if (velocity != nullptr) g = velocity[i] = momentum * velocity[i] + g;
      w[i] -= rate * g;
    }
  });
}

}  // namespace

void sgd(const SgdArgs& args, const Team& team) {
  GSPLIT_CHECK(args.momentum == 0 || args.velocity.cols == args.parameters.cols);
  dispatch_compute(args.parameters.dtype, [&](auto type) { update<decltype(type)>(args, team); });
}

}  // namespace gsplit::cpu
