#include "runtime/train/block_dump.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

using Ids = std::vector<std::uint64_t>;

std::vector<std::size_t> in_bytes(const std::vector<std::size_t>& counts) {
  std::vector<std::size_t> bytes(counts);
  for (std::size_t& count : bytes) count *= sizeof(std::uint64_t);
  return bytes;
}

/// Original ids of all source rows of a layer: own ones from the shard, received ones from their
/// owners by the same plan that moves the rows.
Ids source_ids(const SampledLayer& layer, std::span<const LocalId> nodes, const Shard& shard,
               Communicator& communicator) {
  Ids ids(layer.block.num_sources());
  for (std::size_t i = 0; i < layer.block.num_own; ++i) {
    ids[i] = value(shard.original_ids()[value(nodes[i])]);
  }
  Ids sent;
  for (RowIndex row : layer.plan.send_rows.span()) sent.push_back(ids[row]);
  communicator.exchange({std::as_bytes(std::span(sent)), in_bytes(layer.plan.send_counts),
                         std::as_writable_bytes(std::span(ids).subspan(layer.block.num_own)),
                         in_bytes(layer.plan.receive_counts)});
  return ids;
}

/// Appends {layer, destination, number of sources, sorted sources...} per destination.
void append_records(std::size_t layer, const Block& block, const Ids& ids, Ids& records) {
  for (std::size_t i = 0; i < block.num_destinations; ++i) {
    const RowIndex begin = block.indptr.span()[i], end = block.indptr.span()[i + 1];
    records.insert(records.end(), {layer, ids[i], end - begin});
    for (RowIndex e = begin; e < end; ++e) records.push_back(ids[block.columns.span()[e]]);
    std::sort(records.end() - (end - begin), records.end());
  }
}

/// Splits the workers' records, sorts them by (layer, destination) and returns the lines. Samples
/// are functions of node, layer and step, so a destination that several workers have drawn has
/// equal records; one of them stays.
std::string lines_of(std::uint64_t step, const std::vector<std::vector<std::byte>>& workers) {
  std::vector<Ids> all;
  for (const std::vector<std::byte>& bytes : workers) {
    Ids records(bytes.size() / sizeof(std::uint64_t));
    if (!bytes.empty()) std::memcpy(records.data(), bytes.data(), bytes.size());
    for (auto record = records.begin(); record != records.end();) {
      const auto end = record + 3 + static_cast<std::ptrdiff_t>(record[2]);
      all.emplace_back(record, end);
      record = end;
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  std::string text;
  for (const Ids& record : all) {
    text +=
        std::to_string(step) + " " + std::to_string(record[0]) + " " + std::to_string(record[1]);
    for (std::size_t i = 3; i < record.size(); ++i) text += " " + std::to_string(record[i]);
    text += "\n";
  }
  return text;
}

}  // namespace

BlockDump::BlockDump(const std::filesystem::path& path, const Shard& shard, const Context& context)
    : path_(path), shard_(shard), context_(context) {
  if (context.communicator.rank() != 0) return;
  draft_ = path;
  draft_.replace_filename("." + path.filename().string());
  file_.open(draft_, std::ios::trunc);
  if (!file_) {
    throw UsageError("--dump-blocks " + path.string() + " cannot be written",
                     "choose a file that can");
  }
}

BlockDump::~BlockDump() {
  std::error_code ignored;
  if (!draft_.empty()) std::filesystem::remove(draft_, ignored);
}

void BlockDump::write(std::uint64_t step, const MiniBatch& batch) {
  Ids records;
  for (std::size_t l = 0; l < batch.layers.size(); ++l) {
    const Ids ids = source_ids(batch.layers[l], batch.nodes.span(), shard_, context_.owners);
    append_records(l + 1, batch.layers[l].block, ids, records);
  }
  const auto gathered = context_.communicator.gather_v(std::as_bytes(std::span(records)), 0);
  if (context_.communicator.rank() != 0) return;
  file_ << lines_of(step, gathered) << std::flush;
  if (!file_) throw SystemError("cannot write " + path_.string(), "check free space");
}

void BlockDump::commit() {
  if (draft_.empty()) return;
  file_.close();
  std::error_code error;
  if (file_) std::filesystem::rename(draft_, path_, error);
  if (!file_ || error) throw SystemError("cannot write " + path_.string(), "check free space");
  draft_.clear();
}

}  // namespace gsplit
