// --class-weights: how much each class counts in the training loss. For one class a node the
// weights of torch.nn.CrossEntropyLoss, for labels that of the positives in
// torch.nn.BCEWithLogitsLoss (its pos_weight).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graph/shard.h"
#include "runtime/nn/context.h"

namespace gsplit {

/// UsageError unless `choice` is none, balanced or a file as class_weights() reads it: to be asked
/// before the long work begins.
void check_class_weights(const std::string& choice, std::uint64_t num_classes);

/// Weights that give each class the same say: with n_c training nodes of class c, n in all and C
/// classes n / (C n_c), and 0 for a class without nodes; for labels negatives / positives, (n -
/// n_c) / n_c, and 1 for a label without positives. Returns (C).
std::vector<double> balanced_weights(Task task, std::span<const std::uint64_t> counts,
                                     std::uint64_t num_train);

/// One weight per class of the shard's task, or empty for none. balanced: counted over the training
/// nodes of all workers; else a .npy of (num_classes) f4 or f8, finite and not negative, which rank
/// 0 reads. Collective. Throws UsageError on rank 0.
std::vector<double> class_weights(const std::string& choice, const Shard& shard,
                                  const Context& context);

}  // namespace gsplit
