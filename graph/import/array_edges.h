// Edges that lie in arrays already.
#pragma once

#include <optional>

#include "graph/import/edge_reader.h"
#include "graph/npy.h"

namespace gsplit {

/// Rows 0 and 1 of a (2, E) integer array, and (E) or (E, 1) weights: f2 is refused, f4, f8 and
/// integers are taken. Throws UsageError in the constructor for other shapes, in next() for ids at
/// or above `id_limit` and for weights that are negative or not finite.
class ArrayEdgeReader : public EdgeReader {
 public:
  ArrayEdgeReader(NpyArray edges, std::optional<NpyArray> weights, std::uint64_t id_limit);
  bool next(EdgeBatch& batch) override;
  double progress() const override;

 private:
  NpyArray edges_;
  std::optional<NpyArray> weights_;
  std::uint64_t id_limit_;
  std::uint64_t at_ = 0;
};

/// The edges of another reader, which has no weights, with (E) or (E, 1) weights in the same order.
/// Throws UsageError as above, and where there are more edges than weights or fewer. Borrows
/// `edges`.
class WeightingReader : public EdgeReader {
 public:
  WeightingReader(EdgeReader& edges, NpyArray weights);
  bool next(EdgeBatch& batch) override;
  double progress() const override { return edges_.progress(); }

 private:
  EdgeReader& edges_;
  NpyArray weights_;
  std::uint64_t at_ = 0;
};

/// Edges row -> column of a square sparse matrix in CSR: `indptr` (N + 1) ascending from 0 to E,
/// `indices` (E) below N, both integers; optional `data` (E) are the weights. Throws UsageError as
/// above.
class CsrEdgeReader : public EdgeReader {
 public:
  CsrEdgeReader(const NpyArray& indptr, NpyArray indices, std::optional<NpyArray> data);
  bool next(EdgeBatch& batch) override;
  double progress() const override;
  std::uint64_t num_rows() const { return indptr_.size() - 1; }

 private:
  std::vector<std::uint64_t> indptr_;
  NpyArray indices_;
  std::optional<NpyArray> data_;
  std::uint64_t at_ = 0;
  std::uint64_t row_ = 0;
};

/// The row bounds of a CSR matrix of `entries` entries: (rows + 1) integers, ascending from 0 to
/// `entries`. Throws UsageError for anything else.
std::vector<std::uint64_t> read_row_bounds(const NpyArray& indptr, std::uint64_t entries);

/// out[i] = element begin + i of an integer array as an id. Throws UsageError where one is negative
/// or not below `limit`. REQUIRES: in range.
void read_ids(const NpyArray& array, std::uint64_t begin, std::uint64_t count, std::uint64_t limit,
              std::vector<std::uint64_t>& out);

/// out[i] = element begin + i of an array of f4, f8 or integers. Throws UsageError for other types.
void read_floats(const NpyArray& array, std::uint64_t begin, std::uint64_t count,
                 std::vector<float>& out);

}  // namespace gsplit
