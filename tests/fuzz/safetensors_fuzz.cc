// A file of weights, read by itself and as the weights of a small model.
#include "kernels/backend.h"
#include "runtime/train/weights.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

/// Two tensors, "w" (2, 3) and "b" (2), to load weights into.
class SmallModel {
 public:
  SmallModel() : backend_(make_cpu_backend(1)), stream_(backend_->memory().create_stream()) {
    parameters_.add("w", {2, 3}, 0);
    parameters_.add("b", {2}, 0);
    parameters_.allocate(*backend_, DType::kF32, 0, *stream_);
  }
  ParameterSet& parameters() { return parameters_; }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  ParameterSet parameters_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = fuzz::write_input("model.safetensors", fuzz::text_of(data, size));
  fuzz::accept_or_refuse([&] {
    const SafetensorsFile file = SafetensorsFile::open(path);
    for (const auto& [name, tensor] : file.tensors()) {
      for (const std::int64_t extent : tensor.shape) GSPLIT_CHECK(extent >= 0);
      fuzz::touch(tensor.data);
    }
  });
  static SmallModel model;
  fuzz::accept_or_refuse([&] { load_weights(path, model.parameters()); });
  return 0;
}
