// The ways to draw a node's neighbours.
#pragma once

#include <cstdint>
#include <string>

namespace gsplit {

enum class Sampler : std::uint8_t {
  kUniform,   ///< min(fanout, degree) distinct ones, Floyd's algorithm (sample_positions.h)
  kLabor,     ///< all whose variate is below fanout / degree (labor.h)
  kWeighted,  ///< min(fanout, positive weights) by edge weight (weighted_positions.h)
};

/// "uniform", "labor" or "weighted"; UsageError naming --sampler for anything else.
Sampler sampler_from_name(const std::string& name);
const char* name_of(Sampler sampler);

}  // namespace gsplit
