#include "graph/import/text_edges.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace gsplit {
namespace {

constexpr int kMostDigits = 19;  // 10^19 - 1 fits 64 bits

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// Blocks end with a line break, which neither a blank nor a digit is: no scan below leaves one.
const char* skip_blanks(const char* at) {
  while (is_blank(*at)) ++at;
  return at;
}

/// Behind a separator; where there is none, `at` itself.
const char* skip_separator(const char* at) {
  at = skip_blanks(at);
  return *at == ',' ? skip_blanks(at + 1) : at;
}

const char* skip_line(const char* at, const char* end) {
  return static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at))) + 1;
}

}  // namespace

void TextEdgeReader::refuse(const TextBlock& block, const char* at,
                            const std::string& fault) const {
  blocks_.refuse(block.line_of(at), fault + " at " + quoted(at, block.end),
                 rules_.weights
                     ? "give lines of 'source destination' or 'source destination weight'"
                     : "give lines of 'source,destination'");
}

const char* TextEdgeReader::parse_id(const TextBlock& block, const char* at,
                                     std::uint64_t& id) const {
  const char* const begin = at;
  id = 0;
  while (is_digit(*at)) id = id * 10 + static_cast<std::uint64_t>(*at++ - '0');
  if (at == begin) refuse(block, at, "has no node id");
  // The product wraps only beyond the digits that fit; then `id` means nothing.
  if (at - begin > kMostDigits || id >= rules_.id_limit) {
    refuse(block, begin, "holds a node id that is not below " + std::to_string(rules_.id_limit));
  }
  return at;
}

const char* TextEdgeReader::parse_weight(const TextBlock& block, const char* at,
                                         EdgeBatch& batch) const {
  double weight = 0;
  const auto [end, error] = std::from_chars(at, block.end, weight);
  const auto rounded = static_cast<float>(weight);
  if (error != std::errc{} || !std::isfinite(rounded) || rounded < 0) {
    refuse(block, at, "holds a weight that is no finite number of at least 0");
  }
  batch.weights.push_back(rounded);
  return end;
}

const char* TextEdgeReader::parse_edge(const TextBlock& block, const char* at, EdgeBatch& batch) {
  std::uint64_t source = 0;
  std::uint64_t destination = 0;
  const char* const behind = parse_id(block, at, source);
  at = skip_separator(behind);
  if (at == behind) refuse(block, at, "has no separator");
  at = parse_id(block, at, destination);
  batch.sources.push_back(source);
  batch.destinations.push_back(destination);
  const char* const third = skip_separator(at);
  const bool two = skip_blanks(at) == third && *third == '\n';
  if (columns_ == Columns::kUnknown) {
    columns_ = two || !rules_.weights ? Columns::kTwo : Columns::kThree;
  }
  if (two != (columns_ == Columns::kTwo)) {
    refuse(block, third, two ? "has no weight" : "has more than two columns");
  }
  if (two) return third + 1;
  if (third == at) refuse(block, third, "has no separator");
  at = skip_blanks(parse_weight(block, third, batch));
  if (*at != '\n') refuse(block, at, "has more than three columns");
  return at + 1;
}

void TextEdgeReader::parse_block(const TextBlock& block, EdgeBatch& batch) {
  const char* at = block.begin;
  while (at != block.end) {
    at = skip_blanks(at);
    if (rules_.comments && (*at == '#' || *at == '%' || *at == '\n')) {
      at = skip_line(at, block.end);
    } else {
      at = parse_edge(block, at, batch);
    }
  }
}

bool TextEdgeReader::next(EdgeBatch& batch) {
  batch.clear();
  TextBlock block;
  while (batch.size() == 0) {
    if (!blocks_.next(block)) return false;
    parse_block(block, batch);
  }
  return true;
}

double TextEdgeReader::progress() const { return blocks_.source().progress(); }

}  // namespace gsplit
