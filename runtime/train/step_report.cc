#include "runtime/train/step_report.h"

#include <algorithm>

namespace gsplit {

StepReport combine(std::span<const StepReport> workers) {
  StepReport total;
  for (const StepReport& worker : workers) {
    for (auto count :
         {&StepReport::seeds, &StepReport::edges, &StepReport::input_rows, &StepReport::rows_cache,
          &StepReport::rows_remote, &StepReport::rows_disk, &StepReport::rows_copied,
          &StepReport::shuffle_bytes, &StepReport::shuffle_bytes_pull, &StepReport::plan_bytes,
          &StepReport::allreduce_bytes}) {
      total.*count += worker.*count;
    }
    for (auto seconds :
         {&StepReport::sample_s, &StepReport::load_s, &StepReport::compute_s, &StepReport::comm_s,
          &StepReport::plan_wait_s, &StepReport::prepare_wait_s}) {
      total.*seconds = std::max(total.*seconds, worker.*seconds);
    }
    total.loss_sum += worker.loss_sum;
    total.loss_weight += worker.loss_weight;
    total.predictions += worker.predictions;
    total.learning_rate = worker.learning_rate;
    total.checkpoint_due |= worker.checkpoint_due;
    total.stop |= worker.stop;
    total.bad_layer = std::min(total.bad_layer, worker.bad_layer);
  }
  return total;
}

}  // namespace gsplit
