#include "runtime/train/input_rows.h"

#include <algorithm>

namespace gsplit {

InputRows::InputRows(const TrainConfig& config, const Shard& shard, Context& context)
    : shard_(shard), context_(context), normalize_(config.normalize_features == "row") {
  if (!normalize_) return;
  const double own = context.backend.dense().smallest(shard.features(), context.stream);
  const std::vector<double> all = context.communicator.all_gather_value(own);
  smallest_ = *std::min_element(all.begin(), all.end());
}

void InputRows::load(std::span<const LocalId> nodes, MatrixView rows) {
  context_.backend.sparse().gather_rows(
      {shard_.features(), {reinterpret_cast<const RowIndex*>(nodes.data()), nodes.size()}, rows},
      context_.stream);
  if (normalize_) context_.backend.dense().normalize_rows({rows, smallest_}, context_.stream);
}

}  // namespace gsplit
