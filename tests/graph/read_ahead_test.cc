// Pages asked for are those of the rows, and asking changes nothing that is read.
#include "graph/read_ahead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "graph/npy.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PagesOf, AreMergedWhereTheyMeet) {
  // Rows of 100 bytes on pages of 256, the first row 64 bytes into its page.
  const auto pages = [](std::vector<RowIndex> rows) { return pages_of(rows, 64, 100, 256); };
  EXPECT_THAT(pages({}), IsEmpty());
  EXPECT_THAT(pages({0}), ElementsAre(PageRange{0, 1}));
  EXPECT_THAT(pages({1}), ElementsAre(PageRange{0, 2}));                      // bytes 164 to 263
  EXPECT_THAT(pages({9, 0}), ElementsAre(PageRange{0, 1}, PageRange{3, 5}));  // 964 to 1063
  EXPECT_THAT(pages({0, 2, 0}), ElementsAre(PageRange{0, 2}));                // 264: the next page
  EXPECT_THAT(pages_of(std::vector<RowIndex>{0xFFFFFFFF}, 0, 4096, 4096),
              ElementsAre(PageRange{0xFFFFFFFF, 0x100000000}));
}

TEST(PagesOf, HoldEveryByteOfTheRowsAndNoOtherPage) {
  std::mt19937_64 random(3);
  for (const std::uint64_t row_bytes : {1, 60, 256, 700}) {
    std::vector<RowIndex> rows(50);
    std::set<std::uint64_t> expected;
    for (RowIndex& row : rows) {
      row = static_cast<RowIndex>(random() % 400);
      for (std::uint64_t byte = 0; byte < row_bytes; ++byte) {
        expected.insert((32 + row * row_bytes + byte) / 256);
      }
    }
    std::set<std::uint64_t> found;
    for (const PageRange& range : pages_of(rows, 32, row_bytes, 256)) {
      for (std::uint64_t page = range.begin; page < range.end; ++page) {
        EXPECT_TRUE(found.insert(page).second) << "page " << page << " twice";
      }
    }
    EXPECT_EQ(found, expected) << row_bytes;
  }
}

TEST(ReadAhead, RowsReadTheSame) {
  const TemporaryDirectory directory;
  std::vector<float> values(5000 * 30);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  write_npy<float>(directory / "features.npy", values, {5000, 30});
  const NpyArray array = NpyArray::open(directory / "features.npy");
  const ConstMatrixView view{array.bytes().data(), DType::kF32, 5000, 30, 30};
  const ReadAhead read_ahead(view);
  const std::vector<RowIndex> rows{4999, 0, 17, 17, 2500};
  read_ahead.request(rows);
  read_ahead.request({});
  for (const RowIndex row : rows) {
    EXPECT_EQ(view.row<float>(row)[29], static_cast<float>(row * 30 + 29));
  }
  const ReadAhead empty(ConstMatrixView{nullptr, DType::kF32, 0, 30, 30});
  empty.request({});
}

}  // namespace
}  // namespace gsplit
