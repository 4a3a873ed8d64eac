// Sums made by the plan of each route, added up over the block at their consumer, are the sums over
// the drawn edges, and the mixed route sends least.
#include "sampler/routes.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "comm/world.h"
#include "sampler/split_sampler.h"
#include "tests/support/parts.h"

namespace gsplit {
namespace {

using namespace test;

/// What all workers found.
struct Found {
  std::mutex mutex;
  std::map<std::pair<std::size_t, Id>, double> sums;     // by layer and destination: of weight * id
  std::map<std::pair<std::size_t, Id>, double> lengths;  // edges drawn
  std::uint64_t edges = 0;
  std::vector<std::size_t> received;  // by layer
};

void collect(const MiniBatch& batch, const Renumbered::Part& part, Communicator& communicator,
             Found& found) {
  for (std::size_t l = 0; l < batch.layers.size(); ++l) {
    const auto& [block, plan] = batch.layers[l];
    const auto row = [&](RowIndex i) {
      return static_cast<double>(value(part.original_ids[value(batch.nodes.span()[i])]));
    };
    std::vector<double> values(block.num_sources()), sent;
    for (RowIndex i = 0; i < block.num_own; ++i) values[i] = row(i);
    for (const RowIndex i : plan.send_rows.span()) sent.push_back(row(i));
    for (std::size_t i = 0; i + 1 < plan.sums.indptr.size(); ++i) {
      double sum = 0;
      for (RowIndex e = plan.sums.indptr.span()[i]; e < plan.sums.indptr.span()[i + 1]; ++e) {
        const double weight = plan.sums.weights.size() > 0 ? plan.sums.weights.span()[e] : 1.0;
        sum += weight * row(plan.sums.columns.span()[e]);
      }
      sent.push_back(sum);
    }
    std::vector<std::size_t> send, receive;
    for (std::size_t count : plan.send_counts) send.push_back(count * sizeof(double));
    for (std::size_t count : plan.receive_counts) receive.push_back(count * sizeof(double));
    communicator.exchange({std::as_bytes(std::span(sent)), send,
                           std::as_writable_bytes(std::span(values).subspan(block.num_own)),
                           receive});
    const std::lock_guard lock(found.mutex);
    found.edges += block.num_edges();
    found.received.resize(batch.layers.size(), 0);
    found.received[l] += block.num_received;
    for (RowIndex i = 0; i < block.num_destinations; ++i) {
      double sum = 0;
      for (RowIndex e = block.indptr.span()[i]; e < block.indptr.span()[i + 1]; ++e) {
        const double weight = block.weights.size() > 0 ? block.weights.span()[e] : 1.0;
        sum += weight * values.at(block.columns.span()[e]);
      }
      const std::pair key{l, value(part.original_ids[value(batch.nodes.span()[i])])};
      found.sums[key] = sum;
      double length = block.indptr.span()[i + 1] - block.indptr.span()[i];
      if (block.inverse_lengths.size() > 0 && length > 0) {
        length = 1 / block.inverse_lengths.span()[i];
      }
      found.lengths[key] = length;
    }
  }
}

void sample(const Renumbered& graph, const std::vector<Id>& seeds, const SampleOptions& options,
            Found& found) {
  const auto workers = static_cast<int>(graph.parts.size());
  run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->memory().create_stream();
    SplitSampler sampler(graph.parts[rank].topology(), graph.bounds, *backend, communicator);
    collect(sampler.sample(graph.owned(seeds, rank), options, *stream), graph.parts[rank],
            communicator, found);
  });
}

void expect_linear_cover_serves(const Renumbered& parts, const std::vector<Id>& seeds,
                                std::map<Route, Found>& all) {
  Found found;
  sample(parts, seeds,
         {.fanouts = {6, 4},
          .key = {.seed = 9, .step = 3},
          .route = Route::kMixed,
          .cover = Cover::kLinear},
         found);
  for (const auto& [key, sum] : all[Route::kPull].sums) {
    EXPECT_NEAR(found.sums.at(key), sum, 1e-8 * (1 + sum)) << key.first << " " << key.second;
  }
  for (const auto& [key, length] : all[Route::kPull].lengths) {
    EXPECT_NEAR(found.lengths.at(key), length, 1e-9) << key.first << " " << key.second;
  }
  for (std::size_t l = 0; l < found.received.size(); ++l) {
    EXPECT_GE(found.received[l], all[Route::kMixed].received[l]);
    EXPECT_LE(found.received[l], all[Route::kPull].received[l]);
    EXPECT_LE(found.received[l], all[Route::kPush].received[l]);
  }
}

TEST(Routes, MoveTheSumsOverTheDrawnEdges) {
  const Graph graph = random_graph(700, 5);
  std::vector<Id> seeds;
  for (Id v = 0; v < 700; v += 5) seeds.push_back(v);
  for (const int workers : {1, 2, 3, 5}) {
    for (const EdgeWeights& weights : {EdgeWeights{}, random_weights(graph, 8)}) {
      const Renumbered parts =
          renumber(graph, random_owners(graph.size(), workers, 6), workers, weights);
      std::map<Route, Found> all;
      for (const Route route : {Route::kPull, Route::kPush, Route::kMixed, Route::kAuto}) {
        const SampleOptions options{.fanouts = {6, 4},
                                    .key = {.seed = 9, .step = 3},
                                    .route = route,
                                    .row_bytes = {1000000, 0}};
        Found& found = all[route];
        sample(parts, seeds, options, found);
        const Found& pull = all[Route::kPull];
        ASSERT_EQ(found.sums.size(), pull.sums.size());
        for (const auto& [key, sum] : pull.sums) {
          EXPECT_NEAR(found.sums.at(key), sum, 1e-8 * (1 + sum)) << key.first << " " << key.second;
        }
        for (const auto& [key, length] : pull.lengths) {
          EXPECT_NEAR(found.lengths.at(key), length, 1e-9) << key.first << " " << key.second;
        }
        EXPECT_EQ(found.edges, pull.edges);
      }
      if (workers == 1) continue;
      expect_linear_cover_serves(parts, seeds, all);
      for (std::size_t l = 0; l < 2; ++l) {
        const std::size_t mixed = all[Route::kMixed].received[l];
        EXPECT_LT(mixed, all[Route::kPull].received[l]);
        EXPECT_LT(mixed, all[Route::kPush].received[l]);
      }
      // Rows are dear in the first layer and free in the second.
      EXPECT_EQ(all[Route::kAuto].received[0], all[Route::kMixed].received[0]);
      EXPECT_EQ(all[Route::kAuto].received[1], all[Route::kPull].received[1]);
    }
  }
}

}  // namespace
}  // namespace gsplit
