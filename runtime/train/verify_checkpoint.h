// What `gsplit inspect --verify` checks of a checkpoint beyond its checksums, which opening it
// checks.
#pragma once

#include <string>
#include <vector>

#include "runtime/train/checkpoint.h"

namespace gsplit {

/// What is wrong, one line each, naming the file; empty where all is well. The tensors are those of
/// the model and optimizer that its config describes, in name, shape and type, and finite; the step
/// is that of the directory's name and of the optimizer; the fingerprint is one.
std::vector<std::string> verify_checkpoint(const Checkpoint& checkpoint);

}  // namespace gsplit
