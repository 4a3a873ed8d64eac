// Drawing neighbours and building the structures of a mini-batch: every device gives exactly what
// the host does with one thread, and sets are ordered sets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <tuple>

#include "kernels/base/weighted_positions.h"
#include "kernels/transfer.h"
#include "tests/kernels/devices.h"

namespace gsplit::test {
namespace {

/// A part of a graph: most nodes have some neighbours, some none, a few very many.
struct Part {
  std::vector<std::int64_t> indptr{0};
  std::vector<std::uint32_t> indices32;
  std::vector<std::uint64_t> indices64;
  std::vector<OriginalId> original_ids, names;
  std::vector<float> edge_weights;
  std::vector<std::uint32_t> weight_sums, positive_edges;

  Part(std::size_t nodes, std::uint64_t universe, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < nodes; ++i) {
      const std::size_t degree = i % 97 == 5 ? 2000 : random() % 30;
      for (std::size_t d = 0; d < degree; ++d) {
        indices64.push_back(random() % universe);
        edge_weights.push_back(random() % 4 == 0 ? 0.0f : static_cast<float>(random() % 1000));
      }
      indptr.push_back(static_cast<std::int64_t>(indices64.size()));
      original_ids.push_back(OriginalId{3 * i + 1});
    }
    indices32.assign(indices64.begin(), indices64.end());
    for (std::uint64_t i = 0; i < universe; ++i) names.push_back(OriginalId{7 * i + 2});
    weight_sums.resize(indices64.size());
    for (std::size_t i = 0; i < nodes; ++i) {
      const auto begin = static_cast<std::size_t>(indptr[i]);
      const auto degree = static_cast<std::size_t>(indptr[i + 1]) - begin;
      positive_edges.push_back(
          accumulate_weights(std::span<const float>(edge_weights).subspan(begin, degree),
                             std::span(weight_sums).subspan(begin, degree)));
    }
  }
};

/// The same in reach of a device.
class OnDevice {
 public:
  OnDevice(const Part& part, bool wide, bool weighted, Memory& memory, Stream& stream)
      : indptr_(part.indptr, memory, stream),
        indices32_(part.indices32, memory, stream),
        indices64_(part.indices64, memory, stream),
        original_ids_(part.original_ids, memory, stream),
        names_(part.names, memory, stream),
        edge_weights_(part.edge_weights, memory, stream),
        weight_sums_(part.weight_sums, memory, stream),
        positive_edges_(part.positive_edges, memory, stream),
        wide_(wide),
        weighted_(weighted) {}

  TopologyView topology() const {
    TopologyView view{.indptr = indptr_.span(),
                      .indices32 = indices32_.span(),
                      .indices64 = indices64_.span(),
                      .original_ids = original_ids_.span()};
    if (wide_) {
      view.indices32 = {};
    } else {
      view.indices64 = {};
    }
    if (weighted_) view.edge_weights = edge_weights_.span();
    return view;
  }
  SamplerView sampler(Sampler which) const {
    return {which, names_.span(), weight_sums_.span(), positive_edges_.span()};
  }

 private:
  DeviceArray<std::int64_t> indptr_;
  DeviceArray<std::uint32_t> indices32_;
  DeviceArray<std::uint64_t> indices64_;
  DeviceArray<OriginalId> original_ids_, names_;
  DeviceArray<float> edge_weights_;
  DeviceArray<std::uint32_t> weight_sums_, positive_edges_;
  bool wide_, weighted_;
};

template <class T>
std::vector<T> read(std::span<const T> values, Memory& memory, Stream& stream) {
  std::vector<T> host(values.size());
  memory.copy(host.data(), values.data(), values.size_bytes(), stream);
  stream.synchronize();
  return host;
}

template <class T>
std::vector<T> read(const Buffer<T>& values, Memory& memory, Stream& stream) {
  return read(values.span(), memory, stream);
}

class SamplingConformance : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = why_no_devices();
    if (!reason.empty()) GTEST_SKIP() << reason;
    devices_.emplace_back(make_cpu_backend(1));  // what the others must equal
    for (Device& device : make_devices()) devices_.push_back(std::move(device));
  }

  std::mt19937_64 random_{11};
  std::vector<Device> devices_;
};

struct Draw {
  Sampler sampler;
  std::int32_t fanout;
  bool wide, weighted;
};

struct Sampled {
  std::vector<RowIndex> indptr;
  std::vector<GlobalId> neighbors;
  std::vector<float> weights;
  bool operator==(const Sampled&) const = default;
};

Sampled sample(Device& device, const Part& part, const std::vector<LocalId>& nodes,
               const Draw& draw) {
  Memory& memory = device.backend().memory();
  Stream& stream = device.stream();
  const OnDevice on_device(part, draw.wide, draw.weighted, memory, stream);
  const DeviceArray<LocalId> destinations(nodes, memory, stream);
  const SampledNeighbors result =
      device.backend().sampling().sample_neighbors({.topology = on_device.topology(),
                                                    .destinations = destinations.span(),
                                                    .fanout = draw.fanout,
                                                    .key = {.seed = 5, .step = 9, .layer = 2},
                                                    .sampler = on_device.sampler(draw.sampler)},
                                                   stream);
  return {read(result.indptr, memory, stream), read(result.neighbors, memory, stream),
          read(result.weights, memory, stream)};
}

TEST_F(SamplingConformance, NeighborsAreThoseOfTheHost) {
  const Part part(700, 5000, 3);
  std::vector<LocalId> nodes;
  for (std::uint32_t i = 0; i < 700; ++i) nodes.push_back(LocalId{i});
  std::shuffle(nodes.begin(), nodes.end(), random_);
  nodes.resize(600);
  for (const Sampler sampler : {Sampler::kUniform, Sampler::kLabor, Sampler::kWeighted}) {
    for (const std::int32_t fanout : {1, 7, 40, kFullFanout}) {
      for (const auto& [wide, weighted] : {std::pair{false, false}, {true, true}}) {
        const Draw draw{sampler, fanout, wide, weighted};
        const Sampled expected = sample(devices_.front(), part, nodes, draw);
        EXPECT_GT(expected.neighbors.size(), 400u);
        for (Device& device : devices_) {
          EXPECT_EQ(sample(device, part, nodes, draw), expected)
              << device.name() << " " << name_of(sampler) << " " << fanout;
        }
      }
    }
  }
}

/// What a layer's growth is, as the host can read it.
struct Grown {
  Sampled drawn;
  std::vector<std::size_t> needed;
  std::optional<std::size_t> joined;
  std::vector<std::vector<LocalId>> members;  ///< of each owner
  std::vector<LocalId> joining;
  bool operator==(const Grown&) const = default;
};

constexpr std::uint64_t kGrowUniverse = 5000;

/// `present`: own nodes that have a row already. Two times over, since sets are cleared.
Grown grow(Device& device, const Part& part, const std::vector<LocalId>& nodes,
           const std::vector<LocalId>& present, const std::vector<GlobalRange>& owners,
           std::size_t self, const Draw& draw) {
  Memory& memory = device.backend().memory();
  Stream& stream = device.stream();
  SamplingOps& sampling = device.backend().sampling();
  const OnDevice on_device(part, draw.wide, draw.weighted, memory, stream);
  const DeviceArray<LocalId> destinations(nodes, memory, stream), rows(present, memory, stream);
  const auto needed = sampling.make_id_set(kGrowUniverse);
  const auto joining = sampling.make_id_set(owners[self].size());
  const auto positions = sampling.make_position_table(owners[self].size());
  positions->assign(rows.span(), 0, stream);
  Grown grown;
  for (int round = 0; round < 2; ++round) {
    const Growth growth = sampling.grow({.draws = {.topology = on_device.topology(),
                                                   .destinations = destinations.span(),
                                                   .fanout = draw.fanout,
                                                   .key = {.seed = 5, .step = 9, .layer = 2},
                                                   .sampler = on_device.sampler(draw.sampler)},
                                         .needed = *needed,
                                         .joining = *joining,
                                         .positions = *positions,
                                         .owners = owners,
                                         .self = self},
                                        stream);
    grown = {
        {read(growth.drawn.indptr, memory, stream), read(growth.drawn.neighbors, memory, stream),
         read(growth.drawn.weights, memory, stream)},
        growth.needed,
        growth.joined,
        {},
        {}};
    for (std::size_t q = 0; q < owners.size(); ++q) {
      Buffer<LocalId> members(memory, growth.needed[q]);
      needed->members(owners[q], members.span(), stream);
      grown.members.push_back(read(members, memory, stream));
    }
    const GlobalRange everyone{0, owners[self].size()};
    const std::size_t joined =
        growth.joined ? *growth.joined : joining->seal({{everyone}}, stream).front();
    Buffer<LocalId> members(memory, joined);
    joining->members(everyone, members.span(), stream);
    grown.joining = read(members, memory, stream);
    needed->clear(stream);
    joining->clear(stream);
  }
  return grown;
}

/// Against sets of what a plain draw gives.
TEST_F(SamplingConformance, GrowthIsThatOfTheDraws) {
  const Part part(700, kGrowUniverse, 3);
  std::vector<LocalId> nodes, present;
  for (std::uint32_t i = 0; i < 700; i += 2) nodes.push_back(LocalId{i});
  for (std::uint32_t i = 0; i < 700; i += 3) present.push_back(LocalId{i});
  const std::vector<std::vector<GlobalRange>> divisions{
      {{0, kGrowUniverse}}, {{0, 1200}, {1200, 1200}, {1200, 2900}, {2900, kGrowUniverse}}};
  for (const auto& owners : divisions) {
    const std::size_t self = owners.size() == 1 ? 0 : 2;
    for (const auto& [sampler, fanout, weighted] : {std::tuple{Sampler::kUniform, 5, true},
                                                    {Sampler::kUniform, 40, false},
                                                    {Sampler::kUniform, kFullFanout, false},
                                                    {Sampler::kWeighted, 6, false},
                                                    {Sampler::kLabor, 5, true}}) {
      const Draw draw{sampler, fanout, false, weighted};
      for (const auto& destinations : {nodes, std::vector<LocalId>{}}) {
        Grown expected{sample(devices_.front(), part, destinations, draw), {}, {}, {}, {}};
        std::set<std::uint64_t> distinct;
        for (const GlobalId id : expected.drawn.neighbors) distinct.insert(value(id));
        for (const GlobalRange& owner : owners) {
          std::vector<LocalId> members;
          for (const std::uint64_t id : distinct) {
            if (!owner.contains(GlobalId{id})) continue;
            members.push_back(LocalId{static_cast<std::uint32_t>(id - owner.begin)});
          }
          expected.needed.push_back(members.size());
          expected.members.push_back(members);
        }
        for (const LocalId node : expected.members[self]) {
          if (value(node) < 700 && value(node) % 3 == 0) continue;
          expected.joining.push_back(node);
        }
        if (owners.size() == 1) expected.joined = expected.joining.size();
        for (Device& device : devices_) {
          EXPECT_EQ(grow(device, part, destinations, present, owners, self, draw), expected)
              << device.name() << " " << name_of(sampler) << " " << fanout;
        }
      }
    }
  }
}

TEST_F(SamplingConformance, NoDestinationDrawsNothing) {
  const Part part(10, 50, 3);
  for (const Sampler sampler : {Sampler::kUniform, Sampler::kLabor}) {
    for (Device& device : devices_) {
      const Sampled drawn = sample(device, part, {}, {sampler, 4, false, false});
      EXPECT_EQ(drawn.indptr, std::vector<RowIndex>{0});
      EXPECT_TRUE(drawn.neighbors.empty());
    }
  }
}

TEST_F(SamplingConformance, SetsAreOrderedSets) {
  constexpr std::uint64_t kUniverse = 1 << 20;
  const std::vector<GlobalRange> ranges{{0, 777}, {777, 777}, {777, 400000}, {400000, kUniverse}};
  for (Device& device : devices_) {
    Memory& memory = device.backend().memory();
    Stream& stream = device.stream();
    const auto set = device.backend().sampling().make_id_set(kUniverse);
    for (int round = 0; round < 3; ++round) {  // clear() must leave nothing behind
      std::vector<GlobalId> ids;
      std::set<std::uint64_t> expected;
      for (int i = 0; i < 30000; ++i) {
        const std::uint64_t id = random_() % (round == 1 ? 2000 : kUniverse);
        ids.push_back(GlobalId{id});
        expected.insert(id);
      }
      set->insert(DeviceArray<GlobalId>(ids, memory, stream).span(), stream);
      const auto counts = set->seal(ranges, stream);
      for (std::size_t r = 0; r < ranges.size(); ++r) {
        Buffer<LocalId> members(memory, counts[r]);
        set->members(ranges[r], members.span(), stream);
        std::vector<LocalId> in_range;
        for (auto id = expected.lower_bound(ranges[r].begin);
             id != expected.end() && *id < ranges[r].end; ++id) {
          in_range.push_back(LocalId{static_cast<std::uint32_t>(*id - ranges[r].begin)});
        }
        EXPECT_EQ(read(members, memory, stream), in_range) << device.name();
      }
      set->clear(stream);
    }
  }
}

/// More ranges than one launch takes.
TEST_F(SamplingConformance, SetsCountInManyRanges) {
  std::vector<GlobalRange> ranges;
  std::vector<GlobalId> ids;
  std::vector<std::size_t> expected;
  for (std::uint64_t p = 0; p < 200; ++p) {
    ranges.push_back({100 * p, 100 * p + 100});
    expected.push_back(p % 3);
    for (std::uint64_t i = 0; i < p % 3; ++i) ids.push_back(GlobalId{100 * p + 50 * i});
  }
  for (Device& device : devices_) {
    Stream& stream = device.stream();
    const auto set = device.backend().sampling().make_id_set(20000);
    set->insert(DeviceArray<GlobalId>(ids, device.backend().memory(), stream).span(), stream);
    EXPECT_EQ(set->seal(ranges, stream), expected) << device.name();
  }
}

/// Rows and columns of a worker that owns [2000, 5000) of 9000 nodes.
std::vector<std::vector<RowIndex>> relabel(Device& device, const std::vector<LocalId>& rows,
                                           const std::vector<GlobalId>& neighbors) {
  Memory& memory = device.backend().memory();
  Stream& stream = device.stream();
  SamplingOps& sampling = device.backend().sampling();
  const GlobalRange own{2000, 5000};
  const auto needed = sampling.make_id_set(9000), joining = sampling.make_id_set(own.size());
  const auto positions = sampling.make_position_table(own.size());
  const DeviceArray<LocalId> on_device(rows, memory, stream);
  const DeviceArray<GlobalId> edges(neighbors, memory, stream);
  positions->assign(on_device.span(), 4, stream);
  needed->insert(edges.span(), stream);
  const std::size_t own_members = needed->seal({{own}}, stream).front();
  Buffer<LocalId> members(memory, own_members);
  needed->members(own, members.span(), stream);
  joining->insert_absent(members.span(), *positions, stream);
  Buffer<LocalId> joined(memory, joining->seal({{{0, own.size()}}}, stream).front());
  joining->members({0, own.size()}, joined.span(), stream);
  positions->assign(joined.span(), static_cast<RowIndex>(4 + rows.size()), stream);
  Buffer<RowIndex> found(memory, own_members), columns(memory, neighbors.size());
  positions->look_up(members.span(), found.span(), stream);
  const auto num_own = static_cast<RowIndex>(4 + rows.size() + joined.size());
  sampling.relabel({edges.span(), needed.get(), positions.get(), own, own_members, num_own},
                   columns.span(), stream);
  // What was assigned is forgotten: all members join anew.
  positions->reset(on_device.span(), stream);
  positions->reset(std::as_const(joined).span(), stream);
  joining->clear(stream);
  joining->insert_absent(members.span(), *positions, stream);
  const auto again = static_cast<RowIndex>(joining->seal({{{0, own.size()}}}, stream).front());
  return {read(found, memory, stream), read(columns, memory, stream), {again}};
}

TEST_F(SamplingConformance, RowsAndColumnsAreThoseOfTheHost) {
  std::vector<LocalId> rows;
  for (std::uint32_t i = 0; i < 500; ++i) rows.push_back(LocalId{i * 5});
  std::vector<GlobalId> neighbors;
  for (int i = 0; i < 4000; ++i) neighbors.push_back(GlobalId{random_() % 9000});
  const auto expected = relabel(devices_.front(), rows, neighbors);
  EXPECT_EQ(expected.back().front(), expected.front().size());
  for (Device& device : devices_) {
    EXPECT_EQ(relabel(device, rows, neighbors), expected) << device.name();
  }
}

TEST_F(SamplingConformance, InversesAreThoseOfTheHost) {
  for (const std::size_t edges : {0, 1, 30000}) {
    std::vector<RowIndex> indptr{0}, columns;
    for (std::size_t e = 0; e < edges; ++e) {
      columns.push_back(static_cast<RowIndex>(random_() % 4100));
      if (e % 11 == 3) indptr.push_back(static_cast<RowIndex>(e));
    }
    indptr.resize(indptr.size() + 3, static_cast<RowIndex>(edges));  // the last ones are empty
    std::vector<std::vector<RowIndex>> expected;
    for (Device& device : devices_) {
      Memory& memory = device.backend().memory();
      Stream& stream = device.stream();
      const InverseCsr inverse = device.backend().sampling().invert(
          DeviceArray<RowIndex>(indptr, memory, stream).span(),
          DeviceArray<RowIndex>(columns, memory, stream).span(), 4100, stream);
      const std::vector<std::vector<RowIndex>> found{read(inverse.indptr, memory, stream),
                                                     read(inverse.destinations, memory, stream),
                                                     read(inverse.edges, memory, stream)};
      if (expected.empty()) expected = found;
      EXPECT_EQ(found, expected) << device.name() << " " << edges;
    }
  }
}

/// Bipartite graphs side by side, each a part of one graph.
class Bipartite {
 public:
  /// Neighbours of each left, among `rights` rights.
  void add(const std::vector<std::vector<RowIndex>>& lefts, std::size_t rights) {
    const auto left = static_cast<RowIndex>(offsets_.size() - 1);
    const auto right = static_cast<RowIndex>(num_rights_);
    for (const std::vector<RowIndex>& neighbors : lefts) {
      for (const RowIndex neighbor : neighbors) rights_.push_back(right + neighbor);
      offsets_.push_back(static_cast<RowIndex>(rights_.size()));
    }
    num_rights_ += rights;
    parts_.push_back({left, static_cast<RowIndex>(offsets_.size() - 1), right,
                      static_cast<RowIndex>(num_rights_)});
  }

  const std::vector<BipartitePart>& parts() const { return parts_; }
  std::span<const RowIndex> neighbors(RowIndex left) const {
    return std::span(rights_).subspan(offsets_[left], offsets_[left + 1] - offsets_[left]);
  }

  /// Flags of the lefts, then of the rights.
  std::vector<std::uint32_t> cover(Device& device) const {
    Memory& memory = device.backend().memory();
    Stream& stream = device.stream();
    SamplingOps& ops = device.backend().sampling();
    const DeviceArray<RowIndex> offsets(offsets_, memory, stream), rights(rights_, memory, stream);
    const InverseCsr inverse = ops.invert(offsets.span(), rights.span(), num_rights_, stream);
    const CoveredNodes covered = ops.cover(
        {offsets.span(), rights.span(), inverse.indptr.span(), inverse.destinations.span(), parts_},
        stream);
    std::vector<std::uint32_t> flags = read(covered.lefts, memory, stream);
    const std::vector<std::uint32_t> others = read(covered.rights, memory, stream);
    flags.insert(flags.end(), others.begin(), others.end());
    return flags;
  }

  std::size_t num_lefts() const { return offsets_.size() - 1; }

  /// Edges of a largest matching of a part, by one augmenting path after the other: as many as a
  /// smallest cover has nodes.
  std::size_t fewest(const BipartitePart& part) const {
    std::vector<std::int64_t> mates(num_rights_, -1);
    std::size_t matched = 0;
    for (RowIndex left = part.left_begin; left < part.left_end; ++left) {
      std::vector<bool> visited(num_rights_, false);
      if (augment(left, mates, visited)) ++matched;
    }
    return matched;
  }

 private:
  bool augment(RowIndex left, std::vector<std::int64_t>& mates, std::vector<bool>& visited) const {
    for (const RowIndex right : neighbors(left)) {
      if (visited[right]) continue;
      visited[right] = true;
      const std::int64_t mate = mates[right];
      if (mate >= 0 && !augment(static_cast<RowIndex>(mate), mates, visited)) continue;
      mates[right] = left;
      return true;
    }
    return false;
  }

  std::vector<RowIndex> offsets_{0};
  std::vector<RowIndex> rights_;
  std::size_t num_rights_ = 0;
  std::vector<BipartitePart> parts_;
};

/// `skew` above 1 makes a few right nodes popular. Some edges are parallel.
std::vector<std::vector<RowIndex>> random_lefts(std::size_t lefts, std::size_t rights,
                                                std::size_t max_degree, double skew,
                                                std::mt19937_64& random) {
  std::vector<std::vector<RowIndex>> graph(lefts);
  for (auto& neighbors : graph) {
    for (std::size_t degree = random() % (max_degree + 1); degree > 0; --degree) {
      const double place = std::pow(std::uniform_real_distribution<double>()(random), skew);
      neighbors.push_back(static_cast<RowIndex>(place * static_cast<double>(rights)));
    }
  }
  return graph;
}

/// Where greed takes lefts and rights are few: `size` rights, and for each k lefts of k neighbours
/// that share none. Beside them a left with many rights of its own, so that neither side is small,
/// and lone edges, each of which is one of any matching.
std::vector<std::vector<RowIndex>> trap(RowIndex size, RowIndex leaves, RowIndex lone) {
  std::vector<std::vector<RowIndex>> lefts;
  for (RowIndex k = size; k >= 2; --k) {
    for (RowIndex first = 0; first + k <= size; first += k) {
      lefts.emplace_back();
      for (RowIndex i = 0; i < k; ++i) lefts.back().push_back(first + i);
    }
  }
  lefts.emplace_back();
  for (RowIndex i = 0; i < leaves; ++i) lefts.back().push_back(size + i);
  for (RowIndex i = 0; i < lone; ++i) lefts.push_back({size + leaves + i});
  return lefts;
}

/// Greed takes the first left, and then the five rights that are all it has; beside them a left of
/// many rights, so that neither side is small.
std::vector<std::vector<RowIndex>> left_to_spare(RowIndex leaves) {
  std::vector<std::vector<RowIndex>> lefts{{0, 1, 2, 3, 4}};
  for (RowIndex i = 0; i < 5; ++i) {
    for (RowIndex j = 0; j < i; ++j) lefts.push_back({i, j});
  }
  lefts.emplace_back();
  for (RowIndex i = 0; i < leaves; ++i) lefts.back().push_back(5 + i);
  return lefts;
}

/// Each right but the first hangs on an earlier left, and the left after it on that right.
std::vector<std::vector<RowIndex>> random_tree(RowIndex size, std::mt19937_64& random) {
  std::vector<std::vector<RowIndex>> lefts(size);
  for (RowIndex i = 0; i < size; ++i) {
    if (i > 0) lefts[i].push_back(static_cast<RowIndex>(random() % i));
    lefts[random() % (i + 1)].push_back(i);
  }
  return lefts;
}

Bipartite graphs_to_cover(std::mt19937_64& random) {
  Bipartite graph;
  for (const std::size_t lefts : {1, 30, 300}) {
    for (const std::size_t rights : {1, 40, 400}) {
      for (const std::size_t degree : {1, 3, 15}) {
        for (const double skew : {1.0, 3.0}) {
          graph.add(random_lefts(lefts, rights, degree, skew, random), rights);
        }
      }
    }
  }
  for (int i = 0; i < 20; ++i) graph.add(random_lefts(25, 20, 6, 1.5, random), 20);
  graph.add({}, 3);
  graph.add({{}, {}}, 0);
  for (const RowIndex lone : {0, 130}) graph.add(trap(100, 600, lone), 700 + lone);
  graph.add(left_to_spare(20), 25);
  graph.add({{0, 1}, {1, 2}, {2, 3}, {3, 0}}, 4);
  return graph;
}

/// Each node taken has an edge that no other covers.
void expect_none_to_spare(const Bipartite& graph, const std::vector<std::uint32_t>& flags) {
  std::vector<bool> needed(flags.size(), false);
  for (RowIndex left = 0; left < graph.num_lefts(); ++left) {
    for (const RowIndex neighbor : graph.neighbors(left)) {
      const std::size_t right = graph.num_lefts() + neighbor;
      if (flags[right] == 0) needed[left] = true;
      if (flags[left] == 0) needed[right] = true;
    }
  }
  for (std::size_t node = 0; node < flags.size(); ++node)
    EXPECT_EQ(flags[node], needed[node] ? 1u : 0u);
}

void expect_small_cover(const Bipartite& graph, const BipartitePart& part,
                        const std::vector<std::uint32_t>& flags) {
  std::size_t size = 0, lefts = 0;
  std::set<RowIndex> rights;
  for (RowIndex left = part.left_begin; left < part.left_end; ++left) {
    size += flags[left];
    if (!graph.neighbors(left).empty()) ++lefts;
    for (const RowIndex right : graph.neighbors(left)) {
      rights.insert(right);
      ASSERT_GT(flags[left] + flags[graph.num_lefts() + right], 0u) << left << " - " << right;
    }
  }
  for (RowIndex right = part.right_begin; right < part.right_end; ++right) {
    size += flags[graph.num_lefts() + right];
  }
  EXPECT_LE(size, std::min(lefts, rights.size()));
  EXPECT_LE(size, 2 * graph.fewest(part));
}

TEST_F(SamplingConformance, CoversAreSmallAndThoseOfTheHost) {
  const Bipartite graph = graphs_to_cover(random_);
  const std::vector<std::uint32_t> expected = graph.cover(devices_.front());
  for (const BipartitePart& part : graph.parts()) expect_small_cover(graph, part, expected);
  expect_none_to_spare(graph, expected);
  for (Device& device : devices_) EXPECT_EQ(graph.cover(device), expected) << device.name();
}

TEST_F(SamplingConformance, CoversOfTreesAreSmallest) {
  for (const RowIndex size : {1, 2, 50, 1000}) {
    Bipartite graph;
    graph.add(random_tree(size, random_), size);
    const std::vector<std::uint32_t> flags = graph.cover(devices_.front());
    EXPECT_EQ(static_cast<std::size_t>(std::accumulate(flags.begin(), flags.end(), 0u)),
              graph.fewest(graph.parts().front()));
  }
}

}  // namespace
}  // namespace gsplit::test
