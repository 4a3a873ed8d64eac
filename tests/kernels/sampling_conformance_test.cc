// Drawing neighbours and building the structures of a mini-batch: every device gives exactly what
// the host does with one thread, and sets are ordered sets.
#include <gtest/gtest.h>

#include <algorithm>
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

}  // namespace
}  // namespace gsplit::test
