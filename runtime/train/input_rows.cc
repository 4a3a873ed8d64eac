#include "runtime/train/input_rows.h"

#include <algorithm>
#include <utility>

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

void ShardRowReader::read_ahead(const std::string& flag) {
  if (reads_ahead(flag, shard_.features(), context_.owners.size())) {
    read_ahead_.emplace(shard_.features());
  }
}

void ShardRowReader::read(std::span<const LocalId> nodes, MatrixView rows) {
  if (read_ahead_) read_ahead_->request(as_rows(nodes));
  context_.host.sparse().gather_rows({shard_.features(), as_rows(nodes), rows}, context_.stream);
}

void ShardRowReader::read_columns(std::span<const LocalId> nodes, std::int64_t first,
                                  MatrixView columns) {
  if (read_ahead_) read_ahead_->request(as_rows(nodes));
  context_.host.sparse().gather_rows(
      {shard_.features().columns(first, columns.cols), as_rows(nodes), columns}, context_.stream);
}

InputRows::InputRows(const TrainConfig& config, const Shard& shard, const DeviceRows& on_device,
                     Context& context, const InputRows* known)
    : shard_(shard),
      on_device_(on_device),
      context_(context),
      shard_rows_(shard, context),
      normalize_(config.normalize_features == "row"),
      smallest_(known != nullptr ? known->smallest_ : 0) {
  if (normalize_ && known == nullptr) find_smallest();
  if (!this->on_device()) shard_rows_.read_ahead(config.read_ahead);
}

void InputRows::find_smallest() {
  const double own = context_.host.dense().smallest(shard_.features(), context_.stream);
  const std::vector<double> all = context_.owners.all_gather_value(own);
  smallest_ = *std::min_element(all.begin(), all.end());
}

template <class Gather>
void InputRows::fill(MatrixView rows, Gather gather) {
  if (normalize_ && rows.dtype == DType::kBF16) {
    Matrix exact(context_.memory(), compute_dtype(rows.dtype), rows.rows, rows.cols);
    fill(exact.view(), gather);
    context_.backend.sparse().convert_rows({exact.view(), rows}, context_.stream);
    return;
  }
  gather(rows);
  if (normalize_) context_.backend.dense().normalize_rows({rows, smallest_}, context_.stream);
}

template <class Read>
void InputRows::gather_by_host(MatrixView rows, Read read) {
  if (context_.memory().host_accessible()) return read(rows);
  Matrix staged(context_.backend.pinned(), rows.dtype, rows.rows, rows.cols);
  read(staged.view());
  context_.memory().copy(rows.data, staged.data(), staged.bytes(), context_.stream);
}

void InputRows::load(std::span<const LocalId> nodes, RowReader& reader, MatrixView rows) {
  fill(rows, [&](MatrixView to) {
    gather_by_host(to, [&](MatrixView there) { reader.read(nodes, there); });
  });
}

void InputRows::load(std::span<const LocalId> nodes, MatrixView rows, const CacheUse& use) {
  if (!on_device()) return load(nodes, shard_rows_, rows);
  const DeviceArray<LocalId> there(nodes, context_.memory(), context_.stream);
  load_for_device(there.span(), rows, use);
}

void InputRows::load_for_device(std::span<const LocalId> nodes, MatrixView rows,
                                const CacheUse& use) {
  if (on_device()) {
    return fill(rows, [&](MatrixView to) {
      const GatherRowsArgs gather{on_device_.all, as_rows(nodes), to};
      SparseOps& sparse = context_.backend.sparse();
      if (!has_cache()) return sparse.gather_rows(gather, context_.stream);
      sparse.gather_cached_rows({gather, on_device_.cache, use.hits, use.places, use.first_placed},
                                context_.stream);
    });
  }
  load(read_back(nodes, context_.memory(), context_.stream), rows);
}

void InputRows::load_columns(std::span<const LocalId> nodes, std::int64_t first, MatrixView rows) {
  const auto load = [&](std::span<const LocalId> of) {
    gather_by_host(rows, [&](MatrixView to) { shard_rows_.read_columns(of, first, to); });
  };
  if (context_.memory().host_accessible()) return load(nodes);
  load(read_back(nodes, context_.memory(), context_.stream));
}

}  // namespace gsplit
