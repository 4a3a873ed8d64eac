#include "graph/import/edge_columns.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace gsplit {
namespace {

bool is_wide(std::span<const std::uint64_t> ids) {
  std::uint64_t bits = 0;
  for (const std::uint64_t id : ids) bits |= id;
  return bits > std::numeric_limits<std::int32_t>::max();
}

template <class Id>
std::vector<Id> narrowed(const std::vector<std::uint64_t>& ids) {
  std::vector<Id> out(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) out[i] = static_cast<Id>(ids[i]);
  return out;
}

/// The i4 values from byte `begin` on, as i8 at the end of `to`.
void copy_widened(const OutputFile& from, std::uint64_t begin, OutputFile& to) {
  std::vector<std::int32_t> narrow(1 << 18);
  for (std::uint64_t at = begin; at < from.size();) {
    const auto part =
        std::span(narrow).first(std::min<std::uint64_t>(narrow.size(), (from.size() - at) / 4));
    from.read(at, std::as_writable_bytes(part));
    const std::vector<std::int64_t> wide(part.begin(), part.end());
    to.append(std::span<const std::int64_t>(wide));
    at += part.size_bytes();
  }
}

}  // namespace

EdgeColumns::EdgeColumns(const std::filesystem::path& directory,
                         const std::filesystem::path& scratch)
    : directory_(directory),
      scratch_(scratch),
      sources_(std::make_unique<NpyStream>(directory / "edges.npy")),
      destinations_(std::make_unique<OutputFile>(scratch / "destinations")) {}

template <class Id>
void EdgeColumns::append_as(const EdgeBatch& batch) {
  sources_->append(std::span<const Id>(narrowed<Id>(batch.sources)));
  destinations_->append(std::span<const Id>(narrowed<Id>(batch.destinations)));
}

void EdgeColumns::append(const EdgeBatch& batch) {
  if (!wide_ && (is_wide(batch.sources) || is_wide(batch.destinations))) widen();
  wide_ ? append_as<std::int64_t>(batch) : append_as<std::int32_t>(batch);
  if (!batch.weights.empty()) {
    if (!weights_) weights_ = std::make_unique<NpyStream>(directory_ / "edge_weight.npy");
    weights_->append(std::span<const float>(batch.weights));
  }
  num_edges_ += batch.size();
}

void EdgeColumns::widen() {
  sources_->file().flush();
  destinations_->flush();
  auto sources = std::make_unique<NpyStream>(scratch_ / "wide_sources");
  copy_widened(sources_->file(), NpyStream::kDataBegin, sources->file());
  auto destinations = std::make_unique<OutputFile>(scratch_ / "wide_destinations");
  copy_widened(*destinations_, 0, *destinations);
  sources_ = std::move(sources);
  destinations_ = std::move(destinations);
  std::filesystem::remove(scratch_ / "destinations");
  std::filesystem::rename(scratch_ / "wide_sources", directory_ / "edges.npy");
  wide_ = true;
}

void EdgeColumns::finish() {
  destinations_->flush();
  sources_->append_file(*destinations_);
  std::filesystem::remove(destinations_->path());
  destinations_.reset();
  const NpyType type{'i', wide_ ? std::size_t{8} : std::size_t{4}};
  sources_->finish(type, {2, num_edges_});
  if (weights_) weights_->finish(npy_type_of<float>::value, {num_edges_});
}

}  // namespace gsplit
