#include <cmath>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;  // elements per chunk

template <class T>
void update(const AdamArgs& args, const Team& team) {
  const double correction1 = 1.0 - std::pow(args.beta1, static_cast<double>(args.step));
  const double correction2 = 1.0 - std::pow(args.beta2, static_cast<double>(args.step));
  const T step_size = static_cast<T>(args.learning_rate / correction1);
  const T root_correction = static_cast<T>(std::sqrt(correction2));
  const T beta1 = static_cast<T>(args.beta1), rest1 = static_cast<T>(1.0 - args.beta1);
  const T beta2 = static_cast<T>(args.beta2), rest2 = static_cast<T>(1.0 - args.beta2);
  const T epsilon = static_cast<T>(args.epsilon);
  const T l2 = static_cast<T>(args.decoupled ? 0.0 : args.weight_decay);
  const T kept =
      static_cast<T>(args.decoupled ? 1.0 - args.learning_rate * args.weight_decay : 1.0);
  T* const w = args.parameters.row<T>(0);
  const T* const gradients = args.gradients.row<T>(0);
  T* const m = args.first_moment.row<T>(0);
  T* const v = args.second_moment.row<T>(0);
  for_ranges(team, args.parameters.cols, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradients[i] + l2 * w[i];
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      w[i] = kept * w[i] - step_size * m[i] / (std::sqrt(v[i]) / root_correction + epsilon);
    }
  });
}

}  // namespace

void adam(const AdamArgs& args, const Team& team) {
  GSPLIT_CHECK(args.step >= 1);
  dispatch_compute(args.parameters.dtype, [&](auto type) { update<decltype(type)>(args, team); });
}

}  // namespace gsplit::cpu
