#include "graph/import/csv_table.h"

#include <omp.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "graph/import/feature_writer.h"
#include "graph/import/progress.h"
#include "graph/import/text_blocks.h"

namespace gsplit {
namespace {

constexpr const char* kRemedy = "give a csv of numbers, one row a node, without a header";

const char* end_of_line(const char* at, const char* end) {
  return static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
}

const char* skip_blanks(const char* at) {
  while (*at == ' ' || *at == '\t' || *at == '\r') ++at;
  return at;
}

std::uint64_t count_columns(const char* begin, const char* end) {
  return static_cast<std::uint64_t>(std::count(begin, end, ',')) + 1;
}

/// The number before the next comma or line break, NaN where there is nothing; `at` moves behind
/// the number. False where something else stands there.
bool parse_field(const char*& at, const char* end, double& value) {
  at = skip_blanks(at);
  value = std::numeric_limits<double>::quiet_NaN();
  if (*at != ',' && *at != '\n') {
    if (static_cast<unsigned char>(*at - '0') < 10 && (at[1] == ',' || at[1] == '\n')) {
      value = *at++ - '0';  // one-hot and bag-of-words features are made of these
      return true;
    }
    const auto [behind, error] = std::from_chars(at, end, value);
    if (error != std::errc{}) return false;
    at = skip_blanks(behind);
  }
  return *at == ',' || *at == '\n';
}

/// Rows of a file, one by one.
class Rows {
 public:
  explicit Rows(const std::filesystem::path& path) : blocks_(path) {}

  /// Moves to the next row; false at the end.
  bool next() {
    if (at_ == block_.end) {
      if (!blocks_.next(block_)) return false;
      at_ = block_.begin;
    }
    begin_ = at_;
    end_ = end_of_line(begin_, block_.end);
    at_ = end_ + 1;
    return true;
  }
  const char* begin() const { return begin_; }
  const char* end() const { return end_; }  ///< the row's line break

  [[noreturn]] void refuse(const std::string& fault, const std::string& remedy = kRemedy) const {
    blocks_.refuse(block_.line_of(begin_), fault + " at " + quoted(begin_, block_.end), remedy);
  }

 private:
  TextBlocks blocks_;
  TextBlock block_;
  const char* begin_ = nullptr;
  const char* end_ = nullptr;
  const char* at_ = nullptr;
};

std::uint64_t parse_whole_row(const Rows& rows) {
  const char* at = skip_blanks(rows.begin());
  std::uint64_t value = 0;
  const auto [behind, error] = std::from_chars(at, rows.end(), value);
  if (error != std::errc{} || *skip_blanks(behind) != '\n') {
    rows.refuse("holds no integer of at least 0", "give one a line");
  }
  return value;
}

[[noreturn]] void refuse_rows(const std::filesystem::path& path, std::uint64_t rows,
                              std::uint64_t num_nodes) {
  throw UsageError(path.string() + " has " + (rows > num_nodes ? "more than " : "only ") +
                       std::to_string(std::min(rows, num_nodes)) + " rows, the graph has " +
                       std::to_string(num_nodes) + " nodes",
                   "give one row a node");
}

void parse_label_row(const Rows& rows, std::uint64_t node, NodeLabels& labels) {
  const char* at = rows.begin();
  for (std::uint64_t c = 0; c < labels.columns; ++c) {
    double value = 0;
    if (!parse_field(at, rows.end() + 1, value) || !store_label(labels, node, c, value)) {
      rows.refuse(labels.columns == 1 ? "holds no class" : "holds a label other than 0 and 1");
    }
    const bool last = c + 1 == labels.columns;
    if ((*at == '\n') != last)
      rows.refuse("has not " + std::to_string(labels.columns) + " columns");
    ++at;
  }
}

/// Features of the rows of one block, parsed by several threads.
class FeatureBlock {
 public:
  FeatureBlock(const TextBlock& block, std::uint64_t width, int threads)
      : block_(block), width_(width) {
    for (const char* at = block.begin; at != block.end; at = end_of_line(at, block.end) + 1) {
      rows_.push_back(at);
    }
    if (has_short_row()) return;
    values_.resize(rows_.size() * width);
    std::vector<const char*> faults(rows_.size());
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
    for (std::size_t r = 0; r < rows_.size(); ++r) faults[r] = parse(r);
    const auto first = std::find_if(faults.begin(), faults.end(), [](auto f) { return f; });
    fault_ = first == faults.end() ? nullptr : *first;
  }

  std::size_t num_rows() const { return rows_.size(); }
  std::span<const float> values() const { return values_; }
  const char* fault() const { return fault_; }  ///< the first in the block, or nothing

 private:
  /// A value takes a character and a separator: a block with fewer has a row that is too short.
  /// Found before memory is taken for values that are not there.
  bool has_short_row() {
    const auto characters = static_cast<std::uint64_t>(block_.end - block_.begin);
    if (rows_.size() <= characters / (2 * width_)) return false;
    const auto is_short = [this](const char* row) {
      const auto length = static_cast<std::uint64_t>(end_of_line(row, block_.end) + 1 - row);
      return length < 2 * width_;
    };
    fault_ = *std::find_if(rows_.begin(), rows_.end(), is_short);
    return true;
  }

  /// Where the row is wrong, or nothing.
  const char* parse(std::size_t row) {
    const char* at = rows_[row];
    for (std::uint64_t c = 0; c < width_; ++c) {
      const char* const field = at;
      double value = 0;
      const bool parsed = parse_field(at, block_.end, value);
      const auto rounded = static_cast<float>(value);
      if (!parsed || !std::isfinite(rounded)) return field;
      if ((*at == '\n') != (c + 1 == width_)) return at;
      values_[row * width_ + c] = rounded;
      ++at;
    }
    return nullptr;
  }

  const TextBlock& block_;
  std::uint64_t width_;
  std::vector<const char*> rows_;
  std::vector<float> values_;
  const char* fault_ = nullptr;
};

}  // namespace

std::uint64_t read_csv_count(const std::filesystem::path& path) {
  Rows rows(path);
  if (!rows.next()) throw UsageError(path.string() + " is empty", "give it the number it is for");
  const std::uint64_t count = parse_whole_row(rows);
  if (rows.next()) rows.refuse("is a second number", "give one graph, not several");
  return count;
}

std::vector<std::uint64_t> read_csv_nodes(const std::filesystem::path& path,
                                          std::uint64_t num_nodes) {
  std::vector<std::uint64_t> nodes;
  std::vector<bool> seen(num_nodes);
  for (Rows rows(path); rows.next();) {
    const std::uint64_t node = parse_whole_row(rows);
    if (node >= num_nodes) {
      rows.refuse("names a node that the graph of " + std::to_string(num_nodes) + " has not",
                  "correct the split");
    }
    if (seen[node]) rows.refuse("names a node for the second time", "keep one of them");
    seen[node] = true;
    nodes.push_back(node);
  }
  return nodes;
}

NodeLabels read_csv_labels(const std::filesystem::path& path, std::uint64_t num_nodes) {
  NodeLabels labels;
  std::uint64_t node = 0;
  for (Rows rows(path); rows.next(); ++node) {
    if (node == num_nodes) refuse_rows(path, node + 1, num_nodes);
    if (node == 0) {
      const std::uint64_t columns = count_columns(rows.begin(), rows.end());
      if (columns > kMostColumns) rows.refuse("has too many columns");
      labels = NodeLabels::unlabeled(0, columns);
    }
    if (labels.columns == 1) {
      labels.classes.push_back(NodeLabels::kNone);
    } else {
      labels.rows.insert(labels.rows.end(), labels.columns, NodeLabels::kMissing);
    }
    parse_label_row(rows, node, labels);
  }
  if (node < num_nodes) refuse_rows(path, node, num_nodes);
  labels.num_nodes = num_nodes;
  return labels;
}

std::uint64_t convert_csv_features(const std::filesystem::path& path, std::uint64_t num_nodes,
                                   const CsvFeatures& to, const Log& log) {
  TextBlocks blocks(path);
  Progress progress(log, "rows of features");
  FeatureWriter out(to.npy, path, to.dtype);
  std::uint64_t width = 0;
  std::uint64_t rows = 0;
  for (TextBlock block; blocks.next(block);) {
    if (width == 0) {
      width = count_columns(block.begin, end_of_line(block.begin, block.end));
      if (width > kMostColumns) blocks.refuse(1, "has too many columns", kRemedy);
    }
    const FeatureBlock parsed(block, width, to.threads);
    if (parsed.fault() != nullptr) {
      blocks.refuse(block.line_of(parsed.fault()),
                    "has not " + std::to_string(width) + " finite numbers at " +
                        quoted(parsed.fault(), block.end),
                    kRemedy);
    }
    rows += parsed.num_rows();
    if (rows > num_nodes) refuse_rows(path, rows, num_nodes);
    out.append(parsed.values(), width);
    progress.report(rows, blocks.source().progress());
  }
  if (rows < num_nodes) refuse_rows(path, rows, num_nodes);
  out.finish(num_nodes, width);
  return width;
}

}  // namespace gsplit
