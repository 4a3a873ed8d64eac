#include "runtime/train/weights.h"

#include "kernels/base/error.h"

namespace gsplit {

namespace fs = std::filesystem;

fs::path checkpoint_of(const fs::path& path) {
  for (const fs::path& candidate :
       {path, path / "checkpoints" / "best", path / "checkpoints" / "final"}) {
    if (fs::exists(candidate / "manifest.json")) return candidate;
  }
  throw UsageError(path.string() + " holds no weights",
                   "give a run directory or one of its checkpoints");
}

fs::path weights_file_of(const fs::path& path) {
  return fs::is_regular_file(path) ? path : checkpoint_of(path) / "model.safetensors";
}

}  // namespace gsplit
