// Rows of a matrix of which a cache has some: whatever it has is read there, and the result is that
// of the matrix alone.
#include <limits>

#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

class CachedRowsConformance : public Conformance {
 protected:
  static constexpr std::size_t kAll = 120;

  /// A matrix, which of its rows are cached, in which order, and rows asked for.
  struct Case {
    Rows all;
    std::vector<RowIndex> slots;
    std::vector<RowIndex> cached;  // by slot
    std::vector<RowIndex> rows;
  };

  Case random_case(std::size_t count, std::size_t cols, double share) {
    Case made{random_rows(kAll, cols), std::vector<RowIndex>(kAll, kNoSlot), {}, {}};
    std::vector<RowIndex> order(kAll);
    std::iota(order.begin(), order.end(), RowIndex{0});
    std::shuffle(order.begin(), order.end(), random_);
    order.resize(static_cast<std::size_t>(share * kAll));
    made.cached = order;
    for (std::size_t slot = 0; slot < order.size(); ++slot) {
      made.slots[order[slot]] = static_cast<RowIndex>(slot);
    }
    for (std::size_t i = 0; i < count; ++i) {
      made.rows.push_back(static_cast<RowIndex>(random_() % kAll));
    }
    return made;
  }

  /// (rows, cols) inside a matrix whose rows are wider.
  Matrix padded(const Rows& rows, std::size_t cols, std::size_t padding, DType as) const {
    Rows wide = rows;
    for (std::vector<double>& row : wide) row.resize(cols + padding, -1000);
    return to_matrix(wide, cols + padding, as);
  }
};

/// The matrix has nothing in the rows that are cached, so that nobody reads them there.
TEST_P(CachedRowsConformance, AreReadInTheCache) {
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [count, cols, padding] : {std::array<std::size_t, 3>{700, 37, 3},
                                             {700, 40, 8},
                                             {700, 100, 4},
                                             {3, 5001, 0},
                                             {3, 5000, 0},
                                             {0, 8, 0},
                                             {300, 10, 6},
                                             {300, 1, 7}}) {
    for (const double share : {0.0, 0.3, 1.0}) {
      const Case made = random_case(count, cols, share);
      Rows left = made.all, cached, expected;
      for (const RowIndex row : made.cached) {
        cached.push_back(made.all[row]);
        left[row].assign(cols, nothing);
      }
      for (const RowIndex row : made.rows) expected.push_back(made.all[row]);
      const auto hits = static_cast<std::uint64_t>(
          std::count_if(made.rows.begin(), made.rows.end(),
                        [&](RowIndex row) { return made.slots[row] != kNoSlot; }));
      for (const DType stored : {dtype(), DType::kF32, DType::kBF16}) {
        Rows stored_expected = expected;
        for (auto& row : stored_expected) {
          for (double& x : row) x = rounded(rounded(x, stored), dtype());
        }
        check(stored_expected, [&](Backend& backend, Stream& stream) {
          const Matrix from = padded(left, cols, padding, stored);
          const Matrix cache = padded(cached, cols, padding, stored);
          const auto width = static_cast<std::int64_t>(cols);
          Matrix to(backend.memory(), dtype(), static_cast<std::int64_t>(count), width);
          const std::vector<std::uint64_t> before{5};
          Buffer<std::uint64_t> counted(backend.memory(), 1);
          backend.memory().copy(counted.data(), before.data(), sizeof(std::uint64_t), stream);
          const DeviceArray<RowIndex> rows = to_device(made.rows), slots = to_device(made.slots);
          backend.sparse().gather_cached_rows(
              {{from.view().columns(0, width), rows.span(), to.view()},
               {cache.view().columns(0, width), slots.span()},
               counted.span()},
              stream);
          EXPECT_EQ(read_back(std::as_const(counted).span(), backend.memory(), stream).front(),
                    5 + hits);
          return to;
        });
      }
    }
  }
}

/// Rows may stay in the cache, where those who read them by their places find them.
TEST_P(CachedRowsConformance, StayWhereTheyAre) {
  constexpr double kUntouched = 77;
  constexpr std::size_t kCount = 500, kReceived = 60;
  for (const std::size_t cols : {1, 10, 32, 37, 100, 602}) {
    for (const std::size_t first_placed : {std::size_t{0}, std::size_t{200}, kCount}) {
      const Case made = random_case(kCount, cols, 0.4);
      const std::size_t padding = 32 - cols % 16;
      Rows cached, expected;
      for (const RowIndex row : made.cached) cached.push_back(made.all[row]);
      for (const RowIndex row : made.rows) expected.push_back(made.all[row]);
      const Rows received = random_rows(kReceived, cols);
      expected.insert(expected.end(), received.begin(), received.end());
      Rows matrix = expected;
      for (std::size_t i = 0; i < kCount; ++i) {
        const bool stays = i >= first_placed && made.slots[made.rows[i]] != kNoSlot;
        if (stays) matrix[i].assign(cols, kUntouched);
      }
      std::vector<RowIndex> picked;
      Rows picked_rows;
      for (int i = 0; i < 300; ++i) {
        picked.push_back(static_cast<RowIndex>(random_() % expected.size()));
        picked_rows.push_back(expected[picked.back()]);
      }
      check(picked_rows, [&](Backend& backend, Stream& stream) {
        const Matrix from = padded(made.all, cols, padding, dtype());
        const Matrix cache = padded(cached, cols, padding, dtype());
        Rows before(kCount, std::vector<double>(cols, kUntouched));
        before.insert(before.end(), received.begin(), received.end());
        Matrix to = to_matrix(before, cols);
        const auto width = static_cast<std::int64_t>(cols);
        const DeviceArray<RowIndex> rows = to_device(made.rows), slots = to_device(made.slots);
        Buffer<const void*> places(backend.memory(), expected.size());
        backend.sparse().gather_cached_rows(
            {.gather = {from.view().columns(0, width), rows.span(), to.view().slice(0, kCount)},
             .cache = {cache.view().columns(0, width), slots.span()},
             .places = places.span(),
             .first_placed = static_cast<std::int64_t>(first_placed)},
            stream);
        EXPECT_EQ(to_rows(to.view()), matrix);
        Matrix result(backend.memory(), dtype(), 300, width);
        backend.sparse().gather_placed_rows(
            {std::as_const(places).span(), to_device(picked).span(), result.view()}, stream);
        return result;
      });
    }
  }
}

/// To the bit what scaling rows of one matrix and summing them there gives.
TEST_P(CachedRowsConformance, AreSummedWhereTheyLie) {
  constexpr std::size_t kSources = 500, kDestinations = 150;
  std::vector<double> row_scale, self_scale, factors;
  for (std::size_t i = 0; i < kSources; ++i) {
    factors.push_back(1 / std::sqrt(static_cast<double>(1 + i % 11)));
  }
  for (std::size_t i = 0; i < kDestinations; ++i) {
    row_scale.push_back(1.0 / (1 + static_cast<double>(i % 7)));
    self_scale.push_back(static_cast<double>(i % 5) - 2);
  }
  struct Terms {
    AggregateOptions options;
    bool weighted;
    std::size_t scaled;  // rows that have a factor
  };
  for (const std::size_t cols : {1, 7, 10, 32, 60, 64, 90, 100, 128, 200, 303, 602}) {
    for (const Terms& terms : {Terms{{.reduce = Reduce::kSum, .self_scale = self_scale}, false, 0},
                               Terms{{.reduce = Reduce::kMean}, true, 0},
                               Terms{{Reduce::kMean, row_scale, self_scale, true}, true, kSources},
                               Terms{{Reduce::kMean, row_scale, self_scale, true}, false, 400}}) {
      const Csr csr = random_csr(kDestinations, kSources, 12, random_);
      const std::vector<float> weights =
          terms.weighted ? random_weights(csr.columns.size()) : std::vector<float>{};
      const Rows source = random_rows(kSources, cols);
      Rows expected = zeros(kDestinations, cols);
      const auto add = [&](std::size_t i, std::size_t j, double weight) {
        for (std::size_t c = 0; c < cols; ++c) {
          const double factor = j < terms.scaled ? factors[j] : 1;
          expected[i][c] += weight * rounded(factor * source[j][c], dtype());
        }
      };
      const AggregateOptions& options = terms.options;
      for (std::size_t i = 0; i < kDestinations; ++i) {
        const double length = csr.indptr[i + 1] - csr.indptr[i];
        for (RowIndex e = csr.indptr[i]; e < csr.indptr[i + 1]; ++e) {
          if (options.skip_loops && csr.columns[e] == i) continue;
          add(i, csr.columns[e],
              (options.reduce == Reduce::kMean ? 1 / length : 1) *
                  (options.row_scale.empty() ? 1 : row_scale[i]) *
                  (weights.empty() ? 1 : static_cast<double>(weights[e])));
        }
        if (!options.self_scale.empty()) add(i, i, self_scale[i]);
      }
      check(
          expected,
          [&](Backend& backend, Stream& stream) {
            // Every third row lies in another matrix, whose rows are wider.
            Rows holes = source;
            for (std::size_t j = 0; j < kSources; j += 3) holes[j].assign(cols, 1e3);
            const Matrix near = to_matrix(holes, cols);
            const std::size_t element = size_of(dtype());
            const auto width = static_cast<std::int64_t>(cols);
            const Matrix far = padded(source, cols, 32 - cols % 16, dtype());
            std::vector<const void*> places;
            for (std::size_t j = 0; j < kSources; ++j) {
              const Matrix& home = j % 3 == 0 ? far : near;
              places.push_back(static_cast<const std::byte*>(home.view().data) +
                               j * static_cast<std::size_t>(home.cols()) * element);
            }
            const DeviceArray<double> on_rows = to_device(options.row_scale);
            const DeviceArray<double> on_self = to_device(options.self_scale);
            const DeviceArray<double> on_sources =
                to_device(std::span<const double>(factors).first(terms.scaled));
            const DeviceArray<RowIndex> indptr = to_device(csr.indptr),
                                        columns = to_device(csr.columns);
            const DeviceArray<float> on_edges = to_device(weights);
            const DeviceArray<const void*> addresses = to_device(places);
            Matrix placed(backend.memory(), dtype(), kDestinations, width);
            Matrix in_matrix(backend.memory(), dtype(), kDestinations, width);
            AggregateArgs args{
                .indptr = indptr.span(),
                .columns = columns.span(),
                .source = near.view(),
                .destination = placed.view(),
                .options = {options.reduce, on_rows.span(), on_self.span(), options.skip_loops},
                .edge_weights = on_edges.span(),
                .places = {addresses.span(), on_sources.span()}};
            // In one part, or those of the first sources before the others are read.
            const bool in_parts = cols % 3 == 0 && dtype() != DType::kBF16;
            const auto sum = [&] {
              if (!in_parts) return backend.sparse().aggregate(args, stream);
              Matrix first(backend.memory(), dtype(), kDestinations, width);
              AggregateArgs part = args;
              part.destination = first.view();
              part.options = {.reduce = Reduce::kSum, .skip_loops = options.skip_loops};
              part.only = {0, 300};
              backend.sparse().aggregate(part, stream);
              part = args;
              part.only = {.begin = 300};
              part.before = first.view();
              backend.sparse().aggregate(part, stream);
            };
            sum();
            Matrix scaled = to_matrix(source, cols);
            backend.sparse().scale_rows(
                {scaled.view().slice(0, static_cast<std::int64_t>(terms.scaled)),
                 on_sources.span()},
                stream);
            args.source = scaled.view();
            args.destination = in_matrix.view();
            args.places = {};
            sum();
            EXPECT_EQ(to_rows(placed.view()), to_rows(in_matrix.view())) << cols;
            return placed;
          },
          3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CachedRowsConformance, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
