// Edge lists as text: SNAP's, and the csv files of OGB and GraphBolt.
#pragma once

#include "graph/import/edge_reader.h"
#include "graph/import/text_blocks.h"

namespace gsplit {

struct TextEdgeRules {
  /// Ids at or above are refused: the number of nodes where it is known, else 2^63.
  std::uint64_t id_limit = std::uint64_t{1} << 63;
  bool comments = true;  ///< lines that begin with # or %, and empty ones, are skipped
  bool weights = true;   ///< a third column is a weight; the first edge decides for the file
};

/// line := id separator id [separator weight], ids decimal, separator := blanks [","] blanks.
class TextEdgeReader : public EdgeReader {
 public:
  TextEdgeReader(const std::filesystem::path& path, const TextEdgeRules& rules)
      : blocks_(path), rules_(rules) {}
  bool next(EdgeBatch& batch) override;
  double progress() const override;

 private:
  enum class Columns { kUnknown, kTwo, kThree };

  void parse_block(const TextBlock& block, EdgeBatch& batch);
  const char* parse_edge(const TextBlock& block, const char* at, EdgeBatch& batch);
  const char* parse_id(const TextBlock& block, const char* at, std::uint64_t& id) const;
  const char* parse_weight(const TextBlock& block, const char* at, EdgeBatch& batch) const;
  [[noreturn]] void refuse(const TextBlock& block, const char* at, const std::string& fault) const;

  TextBlocks blocks_;
  TextEdgeRules rules_;
  Columns columns_ = Columns::kUnknown;
};

}  // namespace gsplit
