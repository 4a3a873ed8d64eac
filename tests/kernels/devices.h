// Which devices the conformance suite runs on. Each executable of the suite links one answer:
// cpu_devices.cc, or cuda_devices.cc with a file that says which variant.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace gsplit::test {

/// One backend under test, its stream, and the host's backend, which builds what ops read.
class Device {
 public:
  explicit Device(std::unique_ptr<Backend> backend)
      : host_(make_cpu_backend(1)),
        backend_(std::move(backend)),
        stream_(backend_->memory().create_stream()) {}
  Backend& backend() { return *backend_; }
  Backend& host() { return *host_; }
  Stream& stream() { return *stream_; }
  std::string name() const { return backend_->describe(); }

 private:
  std::unique_ptr<Backend> host_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
};

/// Backends whose results must be equal to the bit, at least one: made afresh for each call.
std::vector<Device> make_devices();

/// The dtypes of rows that the ops on rows take there.
std::vector<DType> row_types();

/// Why there are no devices on this machine; empty where there are.
std::string why_no_devices();

}  // namespace gsplit::test
