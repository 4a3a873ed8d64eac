#include "graph/import/array_edges.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace gsplit {
namespace {

constexpr std::uint64_t kBatch = std::uint64_t{1} << 16;

[[noreturn]] void refuse(const NpyArray& array, const std::string& fault,
                         const std::string& remedy) {
  throw UsageError(array.path().string() + " " + fault, remedy);
}

void require_length(const NpyArray& array, std::uint64_t edges) {
  const auto& shape = array.shape();
  const bool column = shape.size() == 2 && shape[1] == 1;
  if ((shape.size() == 1 || column) && shape[0] == edges) return;
  refuse(array, "does not hold one value for each of the " + std::to_string(edges) + " edges",
         "give an array of shape (edges)");
}

void read_weights(const NpyArray& array, std::uint64_t begin, std::uint64_t count,
                  std::vector<float>& out) {
  read_floats(array, begin, count, out);
  const auto bad =
      std::find_if(out.begin(), out.end(), [](float w) { return !std::isfinite(w) || w < 0; });
  if (bad == out.end()) return;
  refuse(array,
         "holds weight " + std::to_string(*bad) + " at position " +
             std::to_string(begin + static_cast<std::uint64_t>(bad - out.begin())),
         "give finite weights of at least 0");
}

double share(std::uint64_t done, std::uint64_t all) {
  return all == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(all);
}

}  // namespace

void read_ids(const NpyArray& array, std::uint64_t begin, std::uint64_t count, std::uint64_t limit,
              std::vector<std::uint64_t>& out) {
  out.resize(count);
  array.visit_integers([&](auto values) {
    for (std::uint64_t i = 0; i < count; ++i) {
      out[i] = static_cast<std::uint64_t>(values[begin + i]);  // negative: 2^63 or more
      if (out[i] < limit) continue;
      refuse(array,
             "holds " + std::to_string(values[begin + i]) + " at position " +
                 std::to_string(begin + i) + ", expected 0 to " + std::to_string(limit - 1),
             "correct it");
    }
  });
}

void read_floats(const NpyArray& array, std::uint64_t begin, std::uint64_t count,
                 std::vector<float>& out) {
  out.resize(count);
  const auto convert = [&](auto values) {
    for (std::uint64_t i = 0; i < count; ++i) out[i] = static_cast<float>(values[begin + i]);
  };
  if (array.type() == NpyType{'f', 4}) return convert(array.as<float>());
  if (array.type() == NpyType{'f', 8}) return convert(array.as<double>());
  if (array.type().kind == 'f' || array.type().kind == 'b') {
    refuse(array, "holds " + array.type().name() + ", expected f4, f8 or integers",
           "save it as float32");
  }
  array.visit_integers(convert);
}

ArrayEdgeReader::ArrayEdgeReader(NpyArray edges, std::optional<NpyArray> weights,
                                 std::uint64_t id_limit)
    : edges_(std::move(edges)), weights_(std::move(weights)), id_limit_(id_limit) {
  if (edges_.shape().size() != 2 || edges_.shape()[0] != 2) {
    refuse(edges_, "is no array of shape (2, edges)",
           "save sources as row 0 and destinations as row 1");
  }
  if (weights_) require_length(*weights_, edges_.shape()[1]);
}

bool ArrayEdgeReader::next(EdgeBatch& batch) {
  batch.clear();
  const std::uint64_t edges = edges_.shape()[1];
  const std::uint64_t count = std::min(kBatch, edges - at_);
  read_ids(edges_, at_, count, id_limit_, batch.sources);
  read_ids(edges_, edges + at_, count, id_limit_, batch.destinations);
  if (weights_) read_weights(*weights_, at_, count, batch.weights);
  at_ += count;
  return count > 0;
}

double ArrayEdgeReader::progress() const { return share(at_, edges_.shape()[1]); }

WeightingReader::WeightingReader(EdgeReader& edges, NpyArray weights)
    : edges_(edges), weights_(std::move(weights)) {
  require_length(weights_, weights_.num_elements());
}

bool WeightingReader::next(EdgeBatch& batch) {
  const bool more = edges_.next(batch);
  const std::uint64_t left = weights_.num_elements() - at_;
  if (batch.size() > left || (!more && left > 0)) {
    refuse(weights_,
           "holds " + std::to_string(weights_.num_elements()) + " weights, the graph has " +
               (more ? "more" : std::to_string(at_)) + " edges",
           "give one weight for each edge, in the order of the edges");
  }
  if (more) read_weights(weights_, at_, batch.size(), batch.weights);
  at_ += batch.size();
  return more;
}

std::vector<std::uint64_t> read_row_bounds(const NpyArray& indptr, std::uint64_t entries) {
  if (indptr.shape().size() != 1 || indptr.num_elements() < 2) {
    refuse(indptr, "does not hold the row bounds of a CSR matrix", "give an array of (rows + 1)");
  }
  std::vector<std::uint64_t> bounds;
  read_ids(indptr, 0, indptr.num_elements(), entries + 1, bounds);
  if (bounds.front() != 0 || bounds.back() != entries ||
      !std::is_sorted(bounds.begin(), bounds.end())) {
    refuse(indptr, "does not bound the rows of the indices", "write the matrix again");
  }
  return bounds;
}

CsrEdgeReader::CsrEdgeReader(const NpyArray& indptr, NpyArray indices, std::optional<NpyArray> data)
    : indptr_(read_row_bounds(indptr, indices.num_elements())),
      indices_(std::move(indices)),
      data_(std::move(data)) {
  require_length(indices_, indices_.num_elements());
  if (data_) require_length(*data_, indices_.num_elements());
}

bool CsrEdgeReader::next(EdgeBatch& batch) {
  batch.clear();
  const std::uint64_t count = std::min(kBatch, indices_.num_elements() - at_);
  read_ids(indices_, at_, count, num_rows(), batch.destinations);
  if (data_) read_weights(*data_, at_, count, batch.weights);
  batch.sources.resize(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    while (indptr_[row_ + 1] <= at_ + i) ++row_;
    batch.sources[i] = row_;
  }
  at_ += count;
  return count > 0;
}

double CsrEdgeReader::progress() const { return share(at_, indices_.num_elements()); }

}  // namespace gsplit
