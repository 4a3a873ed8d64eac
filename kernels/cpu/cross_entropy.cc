#include <cmath>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kChunk = 256;  // rows per partial sum

double weight_of(const CrossEntropyArgs& args, std::int32_t label) {
  return args.class_weights.empty() ? 1.0 : args.class_weights[static_cast<std::size_t>(label)];
}

template <class T>
LossSums row_loss(const CrossEntropyArgs& args, std::int64_t row) {
  const T* const logits = args.logits.row<T>(row);
  const std::int64_t classes = args.logits.cols;
  const std::int32_t label = args.labels[static_cast<std::size_t>(row)];
  const double weight = weight_of(args, label);
  const T* const largest = std::max_element(logits, logits + classes);
  const double top = static_cast<double>(*largest);
  double sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    sum += std::exp(static_cast<double>(logits[c]) - top);
  }
  if (args.gradient.rows > 0) {
    T* const gradient = args.gradient.row<T>(row);
    for (std::int64_t c = 0; c < classes; ++c) {
      const double probability = std::exp(static_cast<double>(logits[c]) - top) / sum;
      gradient[c] = static_cast<T>(args.scale * weight * (probability - (c == label ? 1.0 : 0.0)));
    }
  }
  const double loss = weight * (std::log(sum) + top - static_cast<double>(logits[label]));
  if (largest - logits == label) return {loss, {.true_positives = 1}};
  return {loss, {.false_positives = 1, .false_negatives = 1}};
}

template <class T>
LossSums sums(const CrossEntropyArgs& args, const Team& team) {
  std::vector<LossSums> partial(static_cast<std::size_t>(num_chunks(args.logits.rows, kChunk)));
  for_chunks(team, args.logits.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               LossSums& chunk = partial[static_cast<std::size_t>(index)];
               for (std::int64_t i = begin; i < end; ++i) chunk += row_loss<T>(args, i);
             });
  LossSums total;
  for (const LossSums& chunk : partial) total += chunk;
  return total;
}

}  // namespace

LossSums cross_entropy(const CrossEntropyArgs& args, const Team& team) {
  GSPLIT_CHECK(args.logits.rows == static_cast<std::int64_t>(args.labels.size()));
  GSPLIT_CHECK(args.class_weights.empty() ||
               args.logits.cols == static_cast<std::int64_t>(args.class_weights.size()));
  LossSums result;
  dispatch_compute(args.logits.dtype,
                   [&](auto type) { result = sums<decltype(type)>(args, team); });
  return result;
}

}  // namespace gsplit::cpu
