// Rows of a layer lie in memory or in a file without a name, and nothing stays behind.
#include "runtime/train/layer_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "kernels/backend.h"
#include "kernels/matrix.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

constexpr std::int64_t kRows = 1000;
constexpr std::int64_t kCols = 300;  // 1.2 MB

class LayerMemoryTest : public testing::Test {
 protected:
  LayerMemoryTest() { setenv("GSPLIT_CACHE", cache().c_str(), 1); }
  ~LayerMemoryTest() override { unsetenv("GSPLIT_CACHE"); }

  std::filesystem::path cache() const { return directory_ / "cache"; }
  std::ptrdiff_t files_in_cache() const {
    if (!std::filesystem::exists(cache())) return 0;
    return std::distance(std::filesystem::directory_iterator(cache()), {});
  }
  /// Fills a matrix and reads it back.
  void check_use(LayerMemory& memory, std::size_t files) {
    Matrix matrix(memory, DType::kF32, kRows, kCols);
    EXPECT_EQ(memory.num_files(), files);
    for (std::int64_t i = 0; i < kRows; ++i) {
      std::fill_n(matrix.view().row<float>(i), kCols, static_cast<float>(i));
    }
    for (std::int64_t i = kRows; i-- > 0;) {
      ASSERT_EQ(matrix.view().row<float>(i)[kCols - 1], static_cast<float>(i));
    }
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
};

TEST_F(LayerMemoryTest, TakesMemoryWhereThereIsEnough) {
  LayerMemory memory(backend_->memory(), {.available = 1u << 21});  // two thirds are 1.4 MB
  check_use(memory, 0);
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(LayerMemoryTest, TakesAFileWhereThereIsNot) {
  LayerMemory memory(backend_->memory(), {.available = 1u << 20});
  check_use(memory, 1);
  EXPECT_EQ(memory.num_files(), 0u);
  EXPECT_EQ(files_in_cache(), 0);
}

TEST_F(LayerMemoryTest, DividesTheMemoryAmongTheWorkers) {
  LayerMemory memory(backend_->memory(), {.local_workers = 2, .available = 1u << 21});
  check_use(memory, 1);
}

TEST_F(LayerMemoryTest, TwoLayersMayLieInFilesAtOnce) {
  LayerMemory memory(backend_->memory(), {.available = 1});
  const Matrix one(memory, DType::kF32, kRows, kCols);
  check_use(memory, 2);
  EXPECT_EQ(files_in_cache(), 0) << "the files have no names";
}

TEST_F(LayerMemoryTest, AFolderThatCannotBeMadeIsAnErrorThatSaysWhatToDo) {
  setenv("GSPLIT_CACHE", "/proc/none", 1);
  LayerMemory memory(backend_->memory(), {.available = 1});
  try {
    const Matrix matrix(memory, DType::kF32, kRows, kCols);
    ADD_FAILURE() << "accepted";
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("GSPLIT_CACHE"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace gsplit
