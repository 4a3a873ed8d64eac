#include "runtime/train/step_report.h"

#include <algorithm>

namespace gsplit {

LayerTraffic StepReport::shuffle() const {
  LayerTraffic total;
  for (const LayerTraffic& layer : traffic) total += layer;
  return total;
}

StepReport combine(std::span<const StepReport> workers) {
  StepReport total;
  for (const StepReport& worker : workers) {
    for (auto count :
         {&StepReport::seeds, &StepReport::edges, &StepReport::input_rows, &StepReport::rows_cache,
          &StepReport::rows_remote, &StepReport::rows_disk, &StepReport::rows_copied,
          &StepReport::bus_bytes, &StepReport::plan_bytes, &StepReport::allreduce_bytes}) {
      total.*count += worker.*count;
    }
    for (auto seconds :
         {&StepReport::sample_s, &StepReport::load_s, &StepReport::compute_s, &StepReport::comm_s,
          &StepReport::plan_wait_s, &StepReport::prepare_wait_s}) {
      total.*seconds = std::max(total.*seconds, worker.*seconds);
    }
    for (std::size_t l = 0; l < kCountedLayers; ++l) total.traffic[l] += worker.traffic[l];
    total.peak_rss_bytes = std::max(total.peak_rss_bytes, worker.peak_rss_bytes);
    total.device_bytes = std::max(total.device_bytes, worker.device_bytes);
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
