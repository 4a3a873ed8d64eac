#include <cmath>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kChunk = 256;  // rows per partial sum

/// softplus(z) = log(1 + exp(z)) and its derivative, the logistic function, for any z: exp() only
/// sees numbers that are not positive.
struct Softplus {
  double value;
  double derivative;
};

Softplus softplus(double z) {
  const double small = std::exp(-std::abs(z));
  return {std::max(z, 0.0) + std::log1p(small), (z >= 0 ? 1 : small) / (1 + small)};
}

void count(bool predicted, bool label, PredictionCounts& counts) {
  counts.true_positives += predicted && label;
  counts.false_positives += predicted && !label;
  counts.false_negatives += !predicted && label;
}

template <class T>
void add_row(const BinaryCrossEntropyArgs& args, std::int64_t row, LossSums& sums) {
  const auto classes = static_cast<std::size_t>(args.logits.cols);
  const auto labels = args.labels.subspan(static_cast<std::size_t>(row) * classes, classes);
  const T* const logits = args.logits.row<T>(row);
  T* const gradient = args.gradient.rows > 0 ? args.gradient.row<T>(row) : nullptr;
  for (std::size_t c = 0; c < classes; ++c) {
    const auto x = static_cast<double>(logits[c]);
    const bool label = labels[c] != 0;
    // Both terms of the loss are softplus of the logit away from the label's side.
    const double sign = label ? -1 : 1;
    const double weight = label && !args.positive_weights.empty() ? args.positive_weights[c] : 1;
    const Softplus term = softplus(sign * x);
    sums.loss += weight * term.value;
    count(x > 0, label, sums.predictions);
    if (gradient != nullptr) {
      gradient[c] = static_cast<T>(args.scale * sign * weight * term.derivative);
    }
  }
}

template <class T>
LossSums sums(const BinaryCrossEntropyArgs& args, const Team& team) {
  std::vector<LossSums> partial(static_cast<std::size_t>(num_chunks(args.logits.rows, kChunk)));
  for_chunks(team, args.logits.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               LossSums& chunk = partial[static_cast<std::size_t>(index)];
               for (std::int64_t i = begin; i < end; ++i) add_row<T>(args, i, chunk);
             });
  LossSums total;
  for (const LossSums& chunk : partial) total += chunk;
  return total;
}

}  // namespace

LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, const Team& team) {
  const std::int64_t classes = args.logits.cols;
  GSPLIT_CHECK(args.logits.rows * classes == static_cast<std::int64_t>(args.labels.size()));
  GSPLIT_CHECK(args.positive_weights.empty() ||
               classes == static_cast<std::int64_t>(args.positive_weights.size()));
  LossSums result;
  dispatch_compute(args.logits.dtype,
                   [&](auto type) { result = sums<decltype(type)>(args, team); });
  return result;
}

}  // namespace gsplit::cpu
