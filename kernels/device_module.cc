#include "kernels/device_module.h"

#include <dlfcn.h>

#include <cstdlib>

namespace gsplit {
namespace {

constexpr const char* kModule = "libgsplit_cuda.so";
constexpr const char* kFunction = "gsplit_device_module";

std::string last_error() {
  const char* const text = dlerror();
  return text == nullptr ? "unknown error" : text;
}

std::string path_of(void* symbol) {
  Dl_info info{};
  return dladdr(symbol, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : kModule;
}

}  // namespace

OpenedModule open_device_module() {
  const char* const named = std::getenv("GSPLIT_CUDA_MODULE");
  const char* const file = named != nullptr && *named != '\0' ? named : kModule;
  void* const handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return {.problem = last_error()};
  void* const symbol = dlsym(handle, kFunction);
  if (symbol == nullptr) return {.problem = last_error()};
  const std::string path = path_of(symbol);
  const DeviceModule* const module =
      reinterpret_cast<DeviceModuleFunction*>(symbol)(GSPLIT_VERSION);
  if (module == nullptr) return {.problem = path + " belongs to another version of gsplit"};
  return {module, path, ""};
}

}  // namespace gsplit
