#include "graph/json_input.h"

#include <algorithm>

namespace gsplit {

int json_depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool inside_text = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inside_text && c == '\\') ++i;
    if (c == '"') inside_text = !inside_text;
    if (inside_text) continue;
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

}  // namespace gsplit
