// JSON that comes from outside: a file that a user names, or one that may be damaged. Parsed
// without exceptions, not nested deeper than the recursion of nlohmann's copy and dump() can take,
// and numbers taken for what they are.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gsplit {

/// Brackets open at once, outside of texts; at least what a parser would nest.
int json_depth(std::string_view text);

/// The value; discarded (is_discarded(), and none of the other kinds) where `text` is no JSON or
/// nested deeper than 100 levels. Json: nlohmann::json or ordered_json.
template <class Json>
Json parse_json(std::string_view text) {
  constexpr int kDeepest = 100;
  if (json_depth(text) > kDeepest) return Json(nlohmann::detail::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

/// The number, where `json` is an integer that T can hold. (get<T>() cuts fractions and wraps
/// around.)
template <class T, class Json>
std::optional<T> whole_number(const Json& json) {
  if (json.is_number_unsigned()) {
    const auto number = json.template get<std::uint64_t>();
    return std::in_range<T>(number) ? std::optional(static_cast<T>(number)) : std::nullopt;
  }
  if (!json.is_number_integer()) return std::nullopt;
  const auto number = json.template get<std::int64_t>();
  return std::in_range<T>(number) ? std::optional(static_cast<T>(number)) : std::nullopt;
}

/// The text under `key`; `otherwise` where there is none. REQUIRES: an object.
template <class Json>
std::string text_or(const Json& object, const char* key, const std::string& otherwise) {
  const auto entry = object.find(key);
  const bool there = entry != object.end() && entry->is_string();
  return there ? entry->template get<std::string>() : otherwise;
}

}  // namespace gsplit
