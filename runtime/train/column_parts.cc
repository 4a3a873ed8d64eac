#include "runtime/train/column_parts.h"

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

/// Puts arrays behind one another, in page-locked memory.
class Writer {
 public:
  Writer(std::size_t bytes, Context& context)
      : context_(context), message_(context.backend.pinned(), bytes) {}
  void write(const Header& header) {
    std::memcpy(message_.data(), &header, sizeof(header));
    place_ = sizeof(header);
  }
  template <class T>
  void write(std::span<const T> values) {
    GSPLIT_CHECK(place_ + values.size_bytes() <= message_.size());
    context_.memory().copy(message_.data() + place_, values.data(), values.size_bytes(),
                           context_.stream);
    place_ += values.size_bytes();
  }
  /// For the host to read.
  Buffer<std::byte> take() {
    GSPLIT_CHECK(place_ == message_.size());
    context_.stream.synchronize();
    return std::move(message_);
  }

 private:
  Context& context_;
  Buffer<std::byte> message_;
  std::size_t place_ = 0;
};

Buffer<std::byte> message_of(const MiniBatch& batch, Context& context) {
  const Block& block = batch.layers.front().block;
  GSPLIT_CHECK(block.num_received == 0);
  const std::span<const LocalId> nodes = batch.nodes.span().first(block.num_own);
  const std::span<const RowIndex> indptr = block.indptr.span(), columns = block.columns.span();
  const std::span<const float> weights = block.weights.span();
  Writer writer(sizeof(Header) + nodes.size_bytes() + indptr.size_bytes() + columns.size_bytes() +
                    weights.size_bytes(),
                context);
  writer.write(Header{block.num_destinations, block.num_own, columns.size(), weights.size()});
  writer.write(nodes);
  writer.write(indptr);
  writer.write(columns);
  writer.write(weights);
  return writer.take();
}

/// Takes the arrays of a message one after the other.
class Reader {
 public:
  Reader(std::span<const std::byte> message, Context& context)
      : rest_(message), context_(context) {}
  Header header() {
    Header header;
    std::memcpy(&header, next(sizeof(header)).data(), sizeof(header));
    return header;
  }
  /// In device memory.
  template <class T>
  Buffer<T> array(std::size_t size) {
    Buffer<T> values(context_.memory(), size);
    const std::span<const std::byte> bytes = next(values.span().size_bytes());
    context_.memory().copy(values.data(), bytes.data(), bytes.size(), context_.stream);
    return values;
  }
  bool done() const { return rest_.empty(); }

 private:
  std::span<const std::byte> next(std::size_t bytes) {
    GSPLIT_CHECK(bytes <= rest_.size());
    const std::span<const std::byte> taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  std::span<const std::byte> rest_;
  Context& context_;
};

PushPullPart part_of(std::span<const std::byte> message, Context& context) {
  Reader reader(message, context);
  const Header header = reader.header();
  PushPullPart part;
  part.nodes = reader.array<LocalId>(header.sources);
  Block& block = part.sampled.block;
  block.num_destinations = static_cast<RowIndex>(header.destinations);
  block.num_own = static_cast<RowIndex>(header.sources);
  block.indptr = reader.array<RowIndex>(header.destinations + 1);
  block.columns = reader.array<RowIndex>(header.edges);
  block.weights = reader.array<float>(header.weights);
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
  const Buffer<std::byte> mine = message_of(own, context);
  std::vector<PushPullPart> parts;
  for (const std::vector<std::byte>& message : context.communicator.all_gather_v(mine.span())) {
    parts.push_back(part_of(message, context));
  }
  plan_bytes += (mine.size() + sizeof(std::uint64_t)) * (parts.size() - 1);
  return parts;
}

}  // namespace gsplit
