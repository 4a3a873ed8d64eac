#include "runtime/train/input_rows.h"

#include <algorithm>

#include "runtime/nn/conv.h"

namespace gsplit {

InputRows::InputRows(const TrainConfig& config, const Shard& shard, Context& context)
    : shard_(shard), context_(context), normalize_(config.normalize_features == "row") {
  if (!normalize_) return;
  const double own = context.host.dense().smallest(shard.features(), context.stream);
  const std::vector<double> all = context.communicator.all_gather_value(own);
  smallest_ = *std::min_element(all.begin(), all.end());
}

void InputRows::load(std::span<const LocalId> nodes, MatrixView rows) {
  if (context_.memory().host_accessible()) {
    gather(nodes, rows);
  } else {
    Matrix staged(context_.backend.pinned(), rows.dtype, rows.rows, rows.cols);
    gather(nodes, staged.view());
    context_.memory().copy(rows.data, staged.data(), staged.bytes(), context_.stream);
  }
  if (normalize_) context_.backend.dense().normalize_rows({rows, smallest_}, context_.stream);
}

void InputRows::gather(std::span<const LocalId> nodes, MatrixView rows) {
  context_.host.sparse().gather_rows({shard_.features(), as_rows(nodes), rows}, context_.stream);
}

}  // namespace gsplit
