#include "graph/json_input.h"

#include <gtest/gtest.h>

namespace gsplit {
namespace {

using Json = nlohmann::json;

TEST(JsonInput, CountsBracketsOutsideOfTexts) {
  EXPECT_EQ(json_depth("3"), 0);
  EXPECT_EQ(json_depth(R"({"a": [1, [2]], "b": {}})"), 3);
  EXPECT_EQ(json_depth(R"(["[[[", "\"[[", "\\"])"), 1);
}

TEST(JsonInput, RefusesWhatIsNestedTooDeep) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(parse_json<Json>(nested(100)).is_array());
  EXPECT_TRUE(parse_json<Json>(nested(101)).is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::ordered_json>(nested(1'000'000)).is_discarded());
  EXPECT_TRUE(parse_json<Json>("{").is_discarded());
}

TEST(JsonInput, TakesIntegersOfTheTypesRangeOnly) {
  EXPECT_EQ(whole_number<std::int32_t>(Json(-1)), -1);
  EXPECT_EQ(whole_number<std::uint64_t>(Json(~std::uint64_t{0})), ~std::uint64_t{0});
  EXPECT_EQ(whole_number<std::uint64_t>(Json(-1)), std::nullopt);
  EXPECT_EQ(whole_number<std::int32_t>(Json(std::int64_t{1} << 31)), std::nullopt);
  for (const Json& other : {Json(1.0), Json("1"), Json(true), Json(nullptr), Json::array()}) {
    EXPECT_EQ(whole_number<std::int64_t>(other), std::nullopt) << other;
  }
}

TEST(JsonInput, TakesTextsOnly) {
  const Json object = {{"text", "a"}, {"number", 1}};
  EXPECT_EQ(text_or(object, "text", "b"), "a");
  EXPECT_EQ(text_or(object, "number", "b"), "b");
  EXPECT_EQ(text_or(object, "none", "b"), "b");
}

}  // namespace
}  // namespace gsplit
