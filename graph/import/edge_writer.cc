#include "graph/import/edge_writer.h"

#include <algorithm>
#include <utility>

namespace gsplit {
namespace {

constexpr std::size_t kBatch = std::size_t{1} << 16;

/// Ordered by destination, then source; the weight has no say.
struct Edge {
  static constexpr int kKeys = 2;
  std::uint64_t destination;
  std::uint64_t source;
  std::uint64_t key(int k) const { return k == 0 ? source : destination; }
  bool operator<(const Edge& other) const {
    return destination != other.destination ? destination < other.destination
                                            : source < other.source;
  }
};

struct WeightedEdge : Edge {
  float weight;
};

void append_edge(EdgeBatch& batch, std::uint64_t source, std::uint64_t destination) {
  batch.sources.push_back(source);
  batch.destinations.push_back(destination);
}

}  // namespace

/// Where transformed edges go.
class EdgeWriter::Sink {
 public:
  virtual ~Sink() = default;
  virtual void add(const EdgeBatch& batch) = 0;
  virtual void finish(EdgeTotals& totals) = 0;
};

/// Straight into the files.
class EdgeWriter::StreamingSink : public EdgeWriter::Sink {
 public:
  explicit StreamingSink(EdgeColumns& columns) : columns_(columns) {}
  void add(const EdgeBatch& batch) override { columns_.append(batch); }
  void finish(EdgeTotals&) override {}

 private:
  EdgeColumns& columns_;
};

/// Sorted, the first of equal edges only.
template <class Record>
class EdgeWriter::SortingSink : public EdgeWriter::Sink {
 public:
  SortingSink(EdgeColumns& columns, const std::filesystem::path& scratch, const SortLimits& limits)
      : columns_(columns), sorter_(scratch / "runs", limits) {}

  void add(const EdgeBatch& batch) override {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      Record record{};
      record.destination = batch.destinations[i];
      record.source = batch.sources[i];
      if constexpr (kWeighted) record.weight = batch.weights[i];
      sorter_.add(record);
    }
  }

  void finish(EdgeTotals& totals) override {
    std::optional<Record> last;
    EdgeBatch batch;
    sorter_.drain([&](const Record& edge) {
      if (last && !(*last < edge)) {
        ++totals.dropped_duplicates;
        return;
      }
      last = edge;
      append_edge(batch, edge.source, edge.destination);
      if constexpr (kWeighted) batch.weights.push_back(edge.weight);
      if (batch.size() == kBatch) flush(batch);
    });
    flush(batch);
    totals.spilled_bytes = sorter_.spilled_bytes();
  }

 private:
  static constexpr bool kWeighted = std::is_same_v<Record, WeightedEdge>;

  void flush(EdgeBatch& batch) {
    columns_.append(batch);
    batch.clear();
  }

  EdgeColumns& columns_;
  ExternalSorter<Record> sorter_;
};

EdgeWriter::EdgeWriter(const std::filesystem::path& directory, const std::filesystem::path& scratch,
                       const EdgeSteps& steps, const SortLimits& limits)
    : steps_(steps), limits_(limits), scratch_(scratch), columns_(directory, scratch) {}

EdgeWriter::~EdgeWriter() = default;

void EdgeWriter::transform(const EdgeBatch& batch, EdgeBatch& out) {
  out.clear();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const std::uint64_t source = batch.sources[i];
    const std::uint64_t destination = batch.destinations[i];
    if (steps_.drop_self_loops && source == destination) {
      ++totals_.dropped_self_loops;
      continue;
    }
    append_edge(out, source, destination);
    if (steps_.reverse) append_edge(out, destination, source);
    if (!batch.weights.empty()) {
      out.weights.insert(out.weights.end(), steps_.reverse ? 2 : 1, batch.weights[i]);
    }
  }
}

void EdgeWriter::pass_on(const EdgeBatch& batch) {
  if (!sink_ && !steps_.dedup) {
    sink_ = std::make_unique<StreamingSink>(columns_);
  } else if (!sink_ && !totals_.weighted) {
    sink_ = std::make_unique<SortingSink<Edge>>(columns_, scratch_, limits_);
  } else if (!sink_) {
    sink_ = std::make_unique<SortingSink<WeightedEdge>>(columns_, scratch_, limits_);
  }
  sink_->add(batch);
}

void EdgeWriter::add(const EdgeBatch& batch) {
  totals_.read += batch.size();
  totals_.weighted = totals_.weighted || !batch.weights.empty();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    id_bound_ = std::max({id_bound_, batch.sources[i] + 1, batch.destinations[i] + 1});
  }
  if (!steps_.reverse && !steps_.drop_self_loops) return pass_on(batch);
  transform(batch, transformed_);
  pass_on(transformed_);
}

void EdgeWriter::add_self_loops(std::uint64_t num_nodes) {
  EdgeBatch loops;
  for (std::uint64_t begin = 0; begin < num_nodes; begin += kBatch) {
    loops.clear();
    for (std::uint64_t v = begin; v < std::min(num_nodes, begin + kBatch); ++v) {
      append_edge(loops, v, v);
    }
    if (totals_.weighted) loops.weights.assign(loops.size(), 1.0f);
    pass_on(loops);
  }
}

EdgeTotals EdgeWriter::finish(std::uint64_t num_nodes) {
  GSPLIT_CHECK(num_nodes >= id_bound_);
  if (steps_.add_self_loops) add_self_loops(num_nodes);
  if (sink_) sink_->finish(totals_);
  columns_.finish();
  totals_.written = columns_.num_edges();
  totals_.weighted = columns_.weighted();
  return totals_;
}

}  // namespace gsplit
