#include "runtime/train/input_rows.h"

#include <algorithm>

#include "kernels/base/available_memory.h"
#include "runtime/nn/conv.h"

namespace gsplit {
namespace {

/// Of the available memory, for features; more of them are not all kept by the page cache.
constexpr double kShare = 0.5;

bool reads_ahead(const std::string& flag, ConstMatrixView features, int workers) {
  if (flag != "auto") return flag == "always";
  const double bytes = static_cast<double>(features.rows) * static_cast<double>(features.cols) *
                       static_cast<double>(size_of(features.dtype)) * workers;
  return bytes > kShare * static_cast<double>(available_memory());
}

}  // namespace

InputRows::InputRows(const TrainConfig& config, const Shard& shard, Context& context)
    : shard_(shard), context_(context), normalize_(config.normalize_features == "row") {
  if (normalize_) find_smallest();
  if (reads_ahead(config.read_ahead, shard.features(), context.owners.size())) {
    read_ahead_.emplace(shard.features());
  }
}

void InputRows::find_smallest() {
  const double own = context_.host.dense().smallest(shard_.features(), context_.stream);
  const std::vector<double> all = context_.owners.all_gather_value(own);
  smallest_ = *std::min_element(all.begin(), all.end());
}

void InputRows::load(std::span<const LocalId> nodes, MatrixView rows) {
  if (normalize_ && rows.dtype == DType::kBF16) {
    Matrix exact(context_.memory(), compute_dtype(rows.dtype), rows.rows, rows.cols);
    load(nodes, exact.view());
    context_.backend.sparse().convert_rows({exact.view(), rows}, context_.stream);
    return;
  }
  if (context_.memory().host_accessible()) {
    gather(nodes, rows);
  } else {
    Matrix staged(context_.backend.pinned(), rows.dtype, rows.rows, rows.cols);
    gather(nodes, staged.view());
    context_.memory().copy(rows.data, staged.data(), staged.bytes(), context_.stream);
  }
  if (normalize_) context_.backend.dense().normalize_rows({rows, smallest_}, context_.stream);
}

void InputRows::load_columns(std::span<const LocalId> nodes, std::int64_t first, MatrixView rows) {
  if (read_ahead_) read_ahead_->request(as_rows(nodes));
  context_.host.sparse().gather_rows(
      {shard_.features().columns(first, rows.cols), as_rows(nodes), rows}, context_.stream);
}

void InputRows::gather(std::span<const LocalId> nodes, MatrixView rows) {
  if (read_ahead_) read_ahead_->request(as_rows(nodes));
  context_.host.sparse().gather_rows({shard_.features(), as_rows(nodes), rows}, context_.stream);
}

}  // namespace gsplit
