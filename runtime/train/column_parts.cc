#include "runtime/train/column_parts.h"

#include <array>
#include <cstring>
#include <span>

namespace gsplit {
namespace {

/// Sizes that begin the message; the arrays of a block follow.
struct Header {
  std::uint64_t destinations = 0;
  std::uint64_t sources = 0;
  std::uint64_t edges = 0;
  std::uint64_t weights = 0;  ///< edges, or 0
};

template <class T>
void append(std::span<const T> values, std::vector<std::byte>& message) {
  const auto bytes = std::as_bytes(values);
  message.insert(message.end(), bytes.begin(), bytes.end());
}

std::vector<std::byte> message_of(const MiniBatch& batch) {
  const Block& block = batch.layers.front().block;
  GSPLIT_CHECK(block.num_received == 0);
  const Header header{block.num_destinations, block.num_own, block.columns.size(),
                      block.weights.size()};
  std::vector<std::byte> message;
  append(std::span<const Header>(&header, 1), message);
  append<LocalId>(batch.nodes.span().first(block.num_own), message);
  append<RowIndex>(block.indptr.span(), message);
  append<RowIndex>(block.columns.span(), message);
  append<float>(block.weights.span(), message);
  return message;
}

/// Takes the arrays of a message one after the other.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> message) : rest_(message) {}
  template <class T>
  void read(std::span<T> values) {
    GSPLIT_CHECK(values.size_bytes() <= rest_.size());
    if (!values.empty()) std::memcpy(values.data(), rest_.data(), values.size_bytes());
    rest_ = rest_.subspan(values.size_bytes());
  }
  bool done() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};

PushPullPart part_of(std::span<const std::byte> message, Memory& memory) {
  Reader reader(message);
  Header header;
  reader.read(std::span(&header, 1));
  PushPullPart part;
  part.nodes.resize(header.sources);
  Block& block = part.sampled.block;
  block.num_destinations = static_cast<RowIndex>(header.destinations);
  block.num_own = static_cast<RowIndex>(header.sources);
  block.indptr = Buffer<RowIndex>(memory, header.destinations + 1);
  block.columns = Buffer<RowIndex>(memory, header.edges);
  block.weights = Buffer<float>(memory, header.weights);
  reader.read(std::span(part.nodes));
  reader.read(block.indptr.span());
  reader.read(block.columns.span());
  reader.read(block.weights.span());
  GSPLIT_CHECK(reader.done());
  return part;
}

}  // namespace

ColumnRange own_columns(std::int64_t width, int rank, int workers) {
  return {width * rank / workers, width * (rank + 1) / workers};
}

std::vector<PushPullPart> share_first_layers(const MiniBatch& own, std::uint64_t& plan_bytes,
                                             Context& context) {
  const PhaseScope phase(context.progress, Phase::kExchange);
  const std::vector<std::byte> mine = message_of(own);
  std::vector<PushPullPart> parts;
  for (const std::vector<std::byte>& message : context.communicator.all_gather_v(mine)) {
    parts.push_back(part_of(message, context.memory()));
  }
  plan_bytes += (mine.size() + sizeof(std::uint64_t)) * (parts.size() - 1);
  return parts;
}

}  // namespace gsplit
