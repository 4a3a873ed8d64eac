#include "runtime/train/device_data.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "runtime/nn/conv.h"
#include "runtime/train/hot_rows.h"

namespace gsplit {
namespace {

/// What a read over the bus is made of: rows of whole ones cost no more than they have.
constexpr std::size_t kSector = 32;
constexpr std::size_t kUploadedAtOnce = std::size_t{32} << 20;

std::int64_t padded_width(const ConstMatrixView& rows) {
  const auto elements = static_cast<std::int64_t>(kSector / size_of(rows.dtype));
  return (rows.cols + elements - 1) / elements * elements;
}

std::size_t row_bytes(const ConstMatrixView& rows, std::int64_t width) {
  return static_cast<std::size_t>(width) * size_of(rows.dtype);
}

/// Row numbers[i] of `rows` to the i-th row of `to`, whose rows are `width` wide.
void copy_rows(const ConstMatrixView& rows, std::span<const GlobalId> numbers, std::int64_t width,
               std::byte* to) {
  const auto* from = static_cast<const std::byte*>(rows.data);
  for (const GlobalId number : numbers) {
    std::memcpy(to, from + value(number) * row_bytes(rows, rows.stride),
                row_bytes(rows, rows.cols));
    to += row_bytes(rows, width);
  }
}

void copy_all_rows(const ConstMatrixView& rows, std::int64_t width, std::byte* to) {
  const auto* from = static_cast<const std::byte*>(rows.data);
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    std::memcpy(to, from, row_bytes(rows, rows.cols));
    from += row_bytes(rows, rows.stride);
    to += row_bytes(rows, width);
  }
}

std::size_t bytes_of(const ConstMatrixView& matrix) {
  return static_cast<std::size_t>(matrix.rows) * static_cast<std::size_t>(matrix.cols) *
         size_of(matrix.dtype);
}

std::string place(const char* what, std::size_t bytes, DataPlace where) {
  const char* const names[] = {"", "GPU memory", "page-locked host memory", "host memory"};
  return fmt::format("{} ({:.0f} MiB) in {}", what, static_cast<double>(bytes) / (1 << 20),
                     names[static_cast<int>(where)]);
}

/// Of what was asked for by name.
void require_room(DataPlace asked, std::size_t bytes, Memory& device, const std::string& flag,
                  const std::string& remedy) {
  if (asked != DataPlace::kDevice || bytes <= device.available()) return;
  throw UsageError(fmt::format("{} needs {} MiB, and {} MiB of the GPU's memory are free", flag,
                               bytes >> 20, device.available() >> 20),
                   remedy);
}

ConstMatrixView placed_of(const ConstMatrixView& features,
                          const std::optional<ColumnRange>& columns) {
  return columns ? features.columns(columns->begin, columns->size()) : features;
}

std::size_t share_of(std::size_t bytes, double share) {
  return static_cast<std::size_t>(share * static_cast<double>(bytes));
}

}  // namespace

DataPlace data_place_from_name(const std::string& name, const std::string& flag) {
  if (name == "auto") return DataPlace::kAuto;
  if (name == "device") return DataPlace::kDevice;
  if (name == "pinned") return DataPlace::kPinned;
  if (name == "host") return DataPlace::kHost;
  throw UsageError(flag + " has the value " + name, "give auto, device, pinned or host");
}

DataPlace DeviceData::choose(DataPlace asked, std::size_t bytes, Room& room) {
  if (asked == DataPlace::kDevice) room.device -= std::min(room.device, bytes);
  if (asked != DataPlace::kAuto) return asked;
  if (bytes <= room.device) {
    room.device -= bytes;
    return DataPlace::kDevice;
  }
  if (bytes <= room.pinned) {
    room.pinned -= bytes;
    return DataPlace::kPinned;
  }
  return DataPlace::kHost;
}

bool DeviceData::would_cache(const DeviceDataOptions& options, const Shard& shard,
                             const PartitionInfo& partition, Memory& device) {
  if (options.cache == 0.0 || device.host_accessible()) return false;
  if (options.features != DataPlace::kAuto) return options.features == DataPlace::kPinned;
  std::uint64_t largest = 0;
  for (std::size_t p = 0; p + 1 < partition.bounds.size(); ++p) {
    largest = std::max(largest, partition.bounds[p + 1] - partition.bounds[p]);
  }
  const std::size_t graph =
      options.graph == DataPlace::kHost ? 0 : DeviceTopology::bytes(shard.topology(), {});
  return graph + largest * row_bytes(shard.features(), shard.features().cols) >
         share_of(device.available(), options.share);
}

DeviceData::DeviceData(const DeviceDataOptions& options, const Shard& shard,
                       const TopologyView& topology, const SamplerView& sampling,
                       const ReadCounts* loads, Context& context)
    : topology_bytes_(DeviceTopology::bytes(topology, sampling)),
      feature_bytes_(bytes_of(placed_of(shard.features(), options.columns))),
      whole_width_(shard.features().cols),
      in_columns_(options.columns.has_value()) {
  Memory& device = context.memory();
  const ConstMatrixView rows = placed_of(shard.features(), options.columns);
  width_ = rows.cols;
  has_device_ = !device.host_accessible();
  if (!has_device_) return;
  const std::string others = "give auto, pinned or host";
  require_room(options.graph, topology_bytes_, device, "--gpu-graph device", others);
  require_room(options.features, feature_bytes_, device, "--gpu-features device", others);
  Memory& pinned = context.backend.pinned();
  Room room{share_of(device.available(), options.share),
            share_of(pinned.available(), options.share)};
  const auto home = [&](DataPlace where) -> Memory& {
    return where == DataPlace::kDevice ? device : pinned;
  };
  graph_place_ = choose(options.graph, topology_bytes_, room);
  if (graph_place_ != DataPlace::kHost) {
    topology_.emplace(topology, sampling, home(graph_place_), device, context.stream);
  }
  place_features(options, rows, room, context);
  if (feature_place_ == DataPlace::kPinned && loads != nullptr) {
    fill_cache(options.cache, shard, *loads, room.device, context);
  }
}

void DeviceData::place_features(const DeviceDataOptions& options, ConstMatrixView rows, Room& room,
                                Context& context) {
  if (rows.rows == 0) return;
  feature_place_ = choose(options.features, feature_bytes_, room);
  if (feature_place_ == DataPlace::kDevice) {
    features_ = Matrix(context.memory(), rows.dtype, rows.rows, rows.cols);
    upload(rows, context);
  } else if (feature_place_ == DataPlace::kPinned) {
    const std::int64_t width = padded_width(rows);
    features_ = Matrix(context.backend.pinned(), rows.dtype, rows.rows, width);
    copy_all_rows(rows, width, static_cast<std::byte*>(features_.data()));
  }
}

void DeviceData::upload(ConstMatrixView rows, Context& context) {
  if (rows.stride == rows.cols) {
    context.memory().copy(features_.data(), rows.data, feature_bytes_, context.stream);
    return;
  }
  const std::size_t bytes = row_bytes(rows, rows.cols);
  const auto at_once = static_cast<std::int64_t>(std::max<std::size_t>(kUploadedAtOnce / bytes, 1));
  for (std::int64_t first = 0; first < rows.rows; first += at_once) {
    const ConstMatrixView piece = rows.slice(first, std::min(at_once, rows.rows - first));
    std::vector<std::byte> packed(static_cast<std::size_t>(piece.rows) * bytes);
    copy_all_rows(piece, piece.cols, packed.data());
    context.memory().copy(features_.view().slice(first, piece.rows).data, packed.data(),
                          packed.size(), context.stream);
  }
}

void DeviceData::fill_cache(std::optional<double> wanted, const Shard& shard,
                            const ReadCounts& loads, std::size_t room, Context& context) {
  const ConstMatrixView rows = shard.features();
  const std::int64_t width = padded_width(rows);
  const std::size_t bytes = row_bytes(rows, width), table = shard.num_nodes() * sizeof(RowIndex);
  std::vector<std::uint16_t> own;
  for (const OriginalId id : shard.original_ids()) own.push_back(loads.of(0)[value(id)]);
  std::size_t count = room > table ? (room - table) / bytes : 0;
  if (wanted) {
    count = rows_within(*wanted, shard.num_nodes());
    require_room(DataPlace::kDevice, table + count * bytes, context.memory(), "--gpu-cache",
                 "give auto or a smaller share");
  }
  const std::vector<GlobalId> hot = hottest(own, count);
  if (hot.empty()) return;

  std::vector<RowIndex> slots(shard.num_nodes(), kNoSlot);
  for (std::size_t i = 0; i < hot.size(); ++i) slots[value(hot[i])] = static_cast<RowIndex>(i);
  slots_ = Buffer<RowIndex>(context.memory(), slots.size());
  context.memory().copy(slots_.data(), slots.data(), slots_.span().size_bytes(), context.stream);
  cached_ = Matrix(context.memory(), rows.dtype, static_cast<std::int64_t>(hot.size()), width);
  const std::size_t at_once = std::max<std::size_t>(kUploadedAtOnce / bytes, 1);
  for (std::size_t first = 0; first < hot.size(); first += at_once) {
    const auto piece = std::span(hot).subspan(first, std::min(at_once, hot.size() - first));
    std::vector<std::byte> host(piece.size() * bytes);
    copy_rows(rows, piece, width, host.data());
    context.memory().copy(static_cast<std::byte*>(cached_.data()) + first * bytes, host.data(),
                          host.size(), context.stream);
  }
}

DeviceRows DeviceData::features() const {
  DeviceRows rows;
  if (in_columns_) return rows;
  if (features_.rows() > 0) rows.all = features_.view().columns(0, width_);
  if (slots_.size() > 0) rows.cache = {cached_.view().columns(0, width_), slots_.span()};
  return rows;
}

ConstMatrixView DeviceData::columns() const {
  if (!in_columns_ || features_.rows() == 0) return {};
  return features_.view().columns(0, width_);
}

Buffer<OriginalId> DeviceData::original_ids(std::span<const LocalId> nodes,
                                            Context& context) const {
  Buffer<OriginalId> ids(context.memory(), nodes.size());
  // An id is as wide as a double, and gathering copies bits.
  const std::span<const OriginalId> all = topology_->topology().original_ids;
  context.backend.sparse().gather_rows(
      {{all.data(), DType::kF64, static_cast<std::int64_t>(all.size()), 1, 1},
       as_rows(nodes),
       {ids.data(), DType::kF64, static_cast<std::int64_t>(ids.size()), 1, 1}},
      context.stream);
  return ids;
}

std::size_t DeviceData::bus_bytes_of_row(DType sent) const {
  if (!has_device_ || feature_place_ == DataPlace::kDevice) return 0;
  const DType crossing = feature_place_ == DataPlace::kPinned ? features_.dtype() : sent;
  return static_cast<std::size_t>(width_) * size_of(crossing);
}

std::size_t DeviceData::bus_bytes_of_whole_row(DType sent) const {
  if (!in_columns_) return bus_bytes_of_row(sent);
  return has_device_ ? static_cast<std::size_t>(whole_width_) * size_of(sent) : 0;
}

std::string DeviceData::describe() const {
  std::string text = place("graph", topology_bytes_, graph_place_) + ", " +
                     place(in_columns_ ? "own columns of the features" : "features", feature_bytes_,
                           feature_place_);
  if (slots_.size() == 0) return text;
  return text + fmt::format(", {} rows of them ({:.0f} MiB) in GPU memory, too", cached_.rows(),
                            static_cast<double>(cached_.bytes()) / (1 << 20));
}

}  // namespace gsplit
