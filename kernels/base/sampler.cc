#include "kernels/base/sampler.h"

#include "kernels/base/error.h"

namespace gsplit {

Sampler sampler_from_name(const std::string& name) {
  for (const Sampler sampler : {Sampler::kUniform, Sampler::kLabor, Sampler::kWeighted}) {
    if (name == name_of(sampler)) return sampler;
  }
  throw UsageError("--sampler " + name + " is unknown", "choose uniform, labor or weighted");
}

const char* name_of(Sampler sampler) {
  switch (sampler) {
    case Sampler::kUniform:
      return "uniform";
    case Sampler::kLabor:
      return "labor";
    case Sampler::kWeighted:
      return "weighted";
  }
  throw InternalError("internal error: a sampler without a name");
}

}  // namespace gsplit
