#include "sampler/routes.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/transfer.h"
#include "sampler/vertex_cover.h"

namespace gsplit {
namespace {

using Words = std::vector<std::uint32_t>;

/// The edges from one peer's rows to own destinations, by destination.
struct PairEdges {
  Words destinations;  // distinct rows of the block, ascending
  Words offsets{0};    // (destinations + 1)
  Words sources;       // (edges) which of the rows asked of the peer
  Words edges;         // (edges) position in the block
  std::size_t num_sources = 0;

  BipartiteView view() const { return {offsets, sources, num_sources}; }
};

/// What one peer sends instead of all rows that are asked of it.
struct PairRoute {
  VertexCover sent;    // lefts: destinations whose sums travel; rights: sources whose rows do
  Words row_of_left;   // position among the rows received from the peer, where sent
  Words row_of_right;  // the same
  Words lengths;       // (rows to send) summands
  Words columns;       // (summands) which of the rows asked of the peer
  Words edges;         // (summands) the block's edge whose weight it has; kNoEdge: 1

  std::size_t num_rows() const { return lengths.size(); }
};

constexpr std::uint32_t kNoEdge = ~std::uint32_t{0};

std::vector<PairEdges> edges_by_peer(const SampledLayer& layer) {
  const std::vector<std::size_t>& asked = layer.plan.receive_counts;
  std::vector<PairEdges> pairs(asked.size());
  Words first, peer_of;  // by peer; by received row
  for (std::size_t q = 0; q < asked.size(); ++q) {
    first.push_back(static_cast<std::uint32_t>(peer_of.size()));
    peer_of.insert(peer_of.end(), asked[q], static_cast<std::uint32_t>(q));
    pairs[q].num_sources = asked[q];
  }
  const Block& block = layer.block;
  for (RowIndex i = 0; i < block.num_destinations; ++i) {
    for (RowIndex e = block.indptr.span()[i]; e < block.indptr.span()[i + 1]; ++e) {
      const RowIndex column = block.columns.span()[e];
      if (column < block.num_own) continue;
      const std::uint32_t q = peer_of[column - block.num_own];
      PairEdges& pair = pairs[q];
      if (pair.destinations.empty() || pair.destinations.back() != i) {
        pair.destinations.push_back(i);
        pair.offsets.push_back(pair.offsets.back());
      }
      ++pair.offsets.back();
      pair.sources.push_back(column - block.num_own - first[q]);
      pair.edges.push_back(e);
    }
  }
  return pairs;
}

VertexCover cover_by_one_side(Route route, const PairEdges& pair) {
  const std::uint8_t push = route == Route::kPush ? 1 : 0;
  return {std::vector<std::uint8_t>(pair.destinations.size(), push),
          std::vector<std::uint8_t>(pair.num_sources, push == 1 ? 0 : 1)};
}

/// All pairs as one graph, whose parts they are.
struct JoinedPairs {
  Words offsets{0};  // (destinations of all pairs + 1)
  Words sources;     // (edges)
  std::size_t num_sources = 0;
  std::vector<BipartitePart> parts;

  explicit JoinedPairs(const std::vector<PairEdges>& pairs) {
    for (const PairEdges& pair : pairs) {
      const auto left = static_cast<std::uint32_t>(offsets.size() - 1);
      const auto right = static_cast<std::uint32_t>(num_sources);
      const std::uint32_t edge = offsets.back();
      for (const std::uint32_t end : std::span(pair.offsets).subspan(1)) {
        offsets.push_back(edge + end);
      }
      for (const std::uint32_t source : pair.sources) sources.push_back(right + source);
      num_sources += pair.num_sources;
      if (pair.sources.empty()) continue;
      parts.push_back({left, static_cast<RowIndex>(offsets.size() - 1), right,
                       static_cast<RowIndex>(num_sources)});
    }
  }
};

std::vector<VertexCover> linear_covers(const std::vector<PairEdges>& pairs, Backend& backend,
                                       Stream& stream) {
  const JoinedPairs joined(pairs);
  Memory& memory = backend.memory();
  const DeviceArray<std::uint32_t> offsets(joined.offsets, memory, stream);
  const DeviceArray<std::uint32_t> sources(joined.sources, memory, stream);
  const InverseCsr inverse =
      backend.sampling().invert(offsets.span(), sources.span(), joined.num_sources, stream);
  const CoveredNodes covered =
      backend.sampling().cover({offsets.span(), sources.span(), inverse.indptr.span(),
                                inverse.destinations.span(), joined.parts},
                               stream);
  const Words lefts = read_back(covered.lefts.span(), memory, stream);
  const Words rights = read_back(covered.rights.span(), memory, stream);
  std::vector<VertexCover> covers;
  auto left = lefts.begin(), right = rights.begin();
  for (const PairEdges& pair : pairs) {
    const auto left_end = left + static_cast<std::ptrdiff_t>(pair.destinations.size());
    const auto right_end = right + static_cast<std::ptrdiff_t>(pair.num_sources);
    covers.push_back({{left, left_end}, {right, right_end}});
    left = left_end;
    right = right_end;
  }
  return covers;
}

/// By pair: what travels.
std::vector<VertexCover> covers_of(Route route, Cover cover, const std::vector<PairEdges>& pairs,
                                   Backend& backend, Stream& stream) {
  if (route == Route::kMixed && cover == Cover::kLinear) {
    return linear_covers(pairs, backend, stream);
  }
  std::vector<VertexCover> covers;
  for (const PairEdges& pair : pairs) {
    covers.push_back(route == Route::kMixed ? minimum_vertex_cover(pair.view())
                                            : cover_by_one_side(route, pair));
  }
  return covers;
}

/// Rows come first, then sums, both ascending. An edge whose source's row travels anyway is left
/// out of its destination's sum.
PairRoute route_pair(VertexCover cover, const PairEdges& pair) {
  PairRoute result{.sent = std::move(cover),
                   .row_of_left = Words(pair.destinations.size()),
                   .row_of_right = Words(pair.num_sources),
                   .lengths = {},
                   .columns = {},
                   .edges = {}};
  for (std::uint32_t source = 0; source < pair.num_sources; ++source) {
    if (result.sent.rights[source] == 0) continue;
    result.row_of_right[source] = static_cast<std::uint32_t>(result.num_rows());
    result.lengths.push_back(1);
    result.columns.push_back(source);
    result.edges.push_back(kNoEdge);
  }
  for (std::size_t left = 0; left < pair.destinations.size(); ++left) {
    if (result.sent.lefts[left] == 0) continue;
    result.row_of_left[left] = static_cast<std::uint32_t>(result.num_rows());
    const std::size_t before = result.columns.size();
    for (std::uint32_t e = pair.offsets[left]; e < pair.offsets[left + 1]; ++e) {
      if (result.sent.rights[pair.sources[e]] != 0) continue;
      result.columns.push_back(pair.sources[e]);
      result.edges.push_back(pair.edges[e]);
    }
    result.lengths.push_back(static_cast<std::uint32_t>(result.columns.size() - before));
  }
  return result;
}

/// To a peer: number of sums, whether they are weighted, their lengths, summands and weights.
Words message_of(const PairRoute& route, const Block& block) {
  if (route.num_rows() == 0) return {};
  const bool weighted = block.weights.size() > 0;
  Words message{static_cast<std::uint32_t>(route.num_rows()), weighted ? 1u : 0u};
  message.insert(message.end(), route.lengths.begin(), route.lengths.end());
  message.insert(message.end(), route.columns.begin(), route.columns.end());
  if (!weighted) return message;
  for (const std::uint32_t edge : route.edges) {
    const float weight = edge == kNoEdge ? 1.0f : block.weights.span()[edge];
    message.push_back(std::bit_cast<std::uint32_t>(weight));
  }
  return message;
}

std::uint64_t bytes_of(const std::vector<Words>& messages) {
  std::uint64_t words = 0;
  for (const Words& message : messages) words += message.size();
  return words * sizeof(std::uint32_t);
}

/// One way to serve a layer, as this worker asks for it.
struct Candidate {
  std::vector<PairRoute> pairs;
  std::vector<Words> messages;  // by peer
  std::uint64_t rows = 0;

  Candidate(std::vector<VertexCover> covers, const std::vector<PairEdges>& edges,
            const Block& block) {
    for (std::size_t q = 0; q < edges.size(); ++q) {
      pairs.push_back(route_pair(std::move(covers[q]), edges[q]));
    }
    for (const PairRoute& pair : pairs) {
      messages.push_back(message_of(pair, block));
      rows += pair.num_rows();
    }
  }
};

/// Bytes that all workers together send with each route.
struct RouteBytes {
  std::uint64_t pull = 0;
  std::uint64_t mixed = 0;
};

RouteBytes sum_over_workers(const RouteBytes& own, Communicator& communicator) {
  RouteBytes total;
  for (const RouteBytes& bytes : communicator.all_gather_value(own)) {
    total.pull += bytes.pull;
    total.mixed += bytes.mixed;
  }
  return total;
}

/// What the peers ask this worker to send, grouped by peer in rank order.
std::vector<Words> exchange_messages(const std::vector<Words>& messages,
                                     Communicator& communicator) {
  std::vector<std::uint64_t> sizes;
  std::vector<std::size_t> send_bytes, receive_bytes;
  Words sent;
  for (const Words& message : messages) {
    sizes.push_back(message.size());
    send_bytes.push_back(message.size() * sizeof(std::uint32_t));
    sent.insert(sent.end(), message.begin(), message.end());
  }
  const std::vector<std::uint64_t> coming = communicator.exchange_counts(sizes);
  for (const std::uint64_t size : coming) receive_bytes.push_back(size * sizeof(std::uint32_t));
  Words received(std::accumulate(coming.begin(), coming.end(), std::size_t{0}));
  communicator.exchange({std::as_bytes(std::span(sent)), send_bytes,
                         std::as_writable_bytes(std::span(received)), receive_bytes});
  std::vector<Words> asked;
  auto begin = received.begin();
  for (const std::uint64_t size : coming) {
    asked.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    begin += static_cast<std::ptrdiff_t>(size);
  }
  return asked;
}

template <class T>
Buffer<T> to_buffer(const std::vector<T>& values, Memory& memory) {
  Buffer<T> buffer(memory, values.size());
  std::copy(values.begin(), values.end(), buffer.data());
  return buffer;
}

/// Collects what the peers ask for, message by message.
class SumsBuilder {
 public:
  void add(const Words& message, std::span<const RowIndex> rows) {
    if (message.empty()) {
      counts_.push_back(0);
      return;
    }
    const std::size_t count = message[0];
    const bool weighted = message[1] != 0;
    const auto lengths = std::span(message).subspan(2, count);
    const std::size_t summands = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
    GSPLIT_CHECK(message.size() == 2 + count + (weighted ? 2 : 1) * summands);
    const auto columns = std::span(message).subspan(2 + count, summands);
    counts_.push_back(count);
    for (const std::uint32_t length : lengths) indptr_.push_back(indptr_.back() + length);
    for (std::size_t i = 0; i < summands; ++i) {
      GSPLIT_CHECK(columns[i] < rows.size());
      columns_.push_back(rows[columns[i]]);
      weights_.push_back(weighted ? std::bit_cast<float>(message[2 + count + summands + i]) : 1.0f);
    }
    weighted_ |= weighted;
  }

  void build(ShufflePlan& plan, Memory& memory) const {
    plan.send_counts = counts_;
    plan.send_rows = {};
    plan.sums.indptr = to_buffer(indptr_, memory);
    plan.sums.columns = to_buffer(columns_, memory);
    if (weighted_) plan.sums.weights = to_buffer(weights_, memory);
  }

 private:
  std::vector<std::size_t> counts_;
  std::vector<RowIndex> indptr_{0};
  std::vector<RowIndex> columns_;
  std::vector<float> weights_;
  bool weighted_ = false;
};

void plan_sums(const std::vector<Words>& asked, ShufflePlan& plan, Memory& memory) {
  SumsBuilder builder;
  std::size_t first = 0;
  for (std::size_t p = 0; p < asked.size(); ++p) {
    builder.add(asked[p], plan.send_rows.span().subspan(first, plan.send_counts[p]));
    first += plan.send_counts[p];
  }
  builder.build(plan, memory);
}

/// By edge of the block: the received row that serves it, and whether another edge has named that
/// row already.
struct ServedEdges {
  explicit ServedEdges(std::size_t edges) : row(edges, 0), repeats(edges, 0), is_sum(edges, 0) {}
  Words row;
  std::vector<std::uint8_t> repeats;
  std::vector<std::uint8_t> is_sum;
};

void serve(const PairEdges& pair, const PairRoute& route, std::uint32_t first,
           ServedEdges& served) {
  for (std::size_t left = 0; left < pair.destinations.size(); ++left) {
    bool named = false;
    for (std::uint32_t e = pair.offsets[left]; e < pair.offsets[left + 1]; ++e) {
      const std::uint32_t edge = pair.edges[e];
      if (route.sent.rights[pair.sources[e]] != 0) {
        served.row[edge] = first + route.row_of_right[pair.sources[e]];
        continue;
      }
      served.row[edge] = first + route.row_of_left[left];
      served.is_sum[edge] = 1;
      served.repeats[edge] = named ? 1 : 0;
      named = true;
    }
  }
}

/// The block over [own rows | received rows and sums, by peer].
void rebuild(const ServedEdges& served, RowIndex num_received, Block& block, Memory& memory) {
  std::vector<RowIndex> indptr{0}, columns;
  std::vector<float> weights;
  std::vector<double> inverse_lengths;
  for (RowIndex i = 0; i < block.num_destinations; ++i) {
    const RowIndex begin = block.indptr.span()[i], end = block.indptr.span()[i + 1];
    for (RowIndex e = begin; e < end; ++e) {
      const RowIndex column = block.columns.span()[e];
      if (served.repeats[e] != 0) continue;
      columns.push_back(column < block.num_own ? column : block.num_own + served.row[e]);
      if (block.weights.size() == 0) continue;
      weights.push_back(served.is_sum[e] != 0 ? 1.0f : block.weights.span()[e]);
    }
    indptr.push_back(static_cast<RowIndex>(columns.size()));
    inverse_lengths.push_back(end > begin ? 1.0 / static_cast<double>(end - begin) : 0.0);
  }
  block.edges_elsewhere = block.columns.size() - columns.size();
  block.num_received = num_received;
  block.indptr = to_buffer(indptr, memory);
  block.columns = to_buffer(columns, memory);
  if (block.weights.size() > 0) block.weights = to_buffer(weights, memory);
  block.inverse_lengths = to_buffer(inverse_lengths, memory);
}

std::uint64_t apply(const Candidate& chosen, const std::vector<PairEdges>& pairs,
                    SampledLayer& layer, Communicator& communicator, Memory& memory) {
  plan_sums(exchange_messages(chosen.messages, communicator), layer.plan, memory);
  ServedEdges served(layer.block.columns.size());
  std::uint32_t first = 0;
  for (std::size_t q = 0; q < pairs.size(); ++q) {
    serve(pairs[q], chosen.pairs[q], first, served);
    layer.plan.receive_counts[q] = chosen.pairs[q].num_rows();
    first += static_cast<std::uint32_t>(chosen.pairs[q].num_rows());
  }
  rebuild(served, first, layer.block, memory);
  return bytes_of(chosen.messages) + (pairs.size() - 1) * sizeof(std::uint64_t);
}

}  // namespace

Route route_from_name(const std::string& name) {
  if (name == "push") return Route::kPush;
  if (name == "mixed") return Route::kMixed;
  if (name == "auto") return Route::kAuto;
  GSPLIT_CHECK(name == "pull" || name == "project");
  return Route::kPull;
}

std::uint64_t route_layer(const RouteOptions& options, SampledLayer& layer,
                          Communicator& communicator, Backend& backend, Stream& stream) {
  if (options.route == Route::kPull || communicator.size() == 1) return 0;
  const std::vector<PairEdges> pairs = edges_by_peer(layer);
  // Pushing never sends fewer rows than the cover.
  const Route best = options.route == Route::kAuto ? Route::kMixed : options.route;
  const Candidate chosen(covers_of(best, options.cover, pairs, backend, stream), pairs,
                         layer.block);
  Memory& memory = backend.pinned();
  if (options.route != Route::kAuto) return apply(chosen, pairs, layer, communicator, memory);
  const RouteBytes bytes =
      sum_over_workers({layer.block.num_received * options.row_bytes,
                        chosen.rows * options.row_bytes + bytes_of(chosen.messages)},
                       communicator);
  const std::uint64_t counted = (pairs.size() - 1) * sizeof(RouteBytes);
  if (bytes.pull <= bytes.mixed) return counted;
  return counted + apply(chosen, pairs, layer, communicator, memory);
}

}  // namespace gsplit
