#include <cmath>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kChunk = 256;  // rows per partial sum

/// Loss of one row; `gradient` may be null.
template <class T>
LossSums row_loss(const T* logits, std::int64_t classes, std::int32_t label, double scale,
                  T* gradient) {
  const T* const largest = std::max_element(logits, logits + classes);
  double sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    sum += std::exp(static_cast<double>(logits[c]) - static_cast<double>(*largest));
  }
  if (gradient != nullptr) {
    for (std::int64_t c = 0; c < classes; ++c) {
      const double probability =
          std::exp(static_cast<double>(logits[c]) - static_cast<double>(*largest)) / sum;
      gradient[c] = static_cast<T>(scale * (probability - (c == label ? 1.0 : 0.0)));
    }
  }
  return {std::log(sum) + static_cast<double>(*largest) - static_cast<double>(logits[label]),
          largest - logits == label ? 1u : 0u};
}

template <class T>
LossSums sums(const CrossEntropyArgs& args, const Team& team) {
  std::vector<LossSums> partial(static_cast<std::size_t>(num_chunks(args.logits.rows, kChunk)));
  for_chunks(team, args.logits.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               LossSums& chunk = partial[static_cast<std::size_t>(index)];
               for (std::int64_t i = begin; i < end; ++i) {
                 T* const gradient = args.gradient.rows > 0 ? args.gradient.row<T>(i) : nullptr;
                 const LossSums row =
                     row_loss(args.logits.row<T>(i), args.logits.cols,
                              args.labels[static_cast<std::size_t>(i)], args.scale, gradient);
                 chunk.loss += row.loss;
                 chunk.correct += row.correct;
               }
             });
  LossSums total;
  for (const LossSums& chunk : partial) {
    total.loss += chunk.loss;
    total.correct += chunk.correct;
  }
  return total;
}

}  // namespace

LossSums cross_entropy(const CrossEntropyArgs& args, const Team& team) {
  GSPLIT_CHECK(args.logits.rows == static_cast<std::int64_t>(args.labels.size()));
  LossSums result;
  dispatch_compute(args.logits.dtype,
                   [&](auto type) { result = sums<decltype(type)>(args, team); });
  return result;
}

}  // namespace gsplit::cpu
