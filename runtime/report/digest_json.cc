#include "runtime/report/digest_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostEpochs = 512;

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

/// Lists, one entry a bin; fields are means over a bin's steps.
Json series_of(const StepSeries& steps) {
  Json series{{"step", Json::array()}, {"steps", Json::array()},    {"elapsed", Json::array()},
              {"loss", Json::array()}, {"loss_min", Json::array()}, {"loss_max", Json::array()}};
  for (const char* field : kStepFields) series[field] = Json::array();
  for (const StepBin& bin : steps.bins()) {
    const bool finite = bin.losses > 0;
    series["step"].push_back(bin.last_step);
    series["steps"].push_back(bin.steps);
    series["elapsed"].push_back(bin.elapsed_s);
    series["loss"].push_back(finite ? Json(bin.loss_sum / static_cast<double>(bin.losses))
                                    : Json());
    series["loss_min"].push_back(finite ? Json(bin.loss_min) : Json());
    series["loss_max"].push_back(finite ? Json(bin.loss_max) : Json());
    for (std::size_t i = 0; i < kStepFields.size(); ++i) {
      series[kStepFields[i]].push_back(bin.sums[i] / static_cast<double>(bin.steps));
    }
  }
  return series;
}

Json totals_of(const StepSeries& steps) {
  const StepBin total = steps.total();
  Json totals{{"steps", total.steps}, {"last_step", total.last_step}};
  for (std::size_t i = 0; i < kStepFields.size(); ++i) totals[kStepFields[i]] = total.sums[i];
  return totals;
}

/// Of many every second, third, ... one, and always the last.
Json epochs_of(const std::vector<EpochDigest>& epochs) {
  Json list = Json::array();
  const std::size_t stride =
      std::max<std::size_t>(1, (epochs.size() + kMostEpochs - 1) / kMostEpochs);
  for (std::size_t i = 0; i < epochs.size(); ++i) {
    if ((i + 1) % stride != 0 && i + 1 != epochs.size()) continue;
    const EpochDigest& epoch = epochs[i];
    list.push_back({{"epoch", epoch.epoch},
                    {"step", epoch.step},
                    {"elapsed", epoch.elapsed_s},
                    {"loss", or_null(epoch.loss)},
                    {"train_acc", or_null(epoch.train_accuracy)},
                    {"valid_acc", or_null(epoch.valid_accuracy)},
                    {"seconds", or_null(epoch.seconds)},
                    {"load_imbalance", or_null(epoch.load_imbalance)},
                    {"peak_rss_bytes", or_null(epoch.peak_rss_bytes)}});
  }
  return list;
}

Json workers_of(const RunDigest& run) {
  Json workers = Json::array();
  for (const WorkerDigest& worker : run.workers) {
    workers.push_back({{"seeds", worker.seeds},
                       {"edges", worker.edges},
                       {"input_rows", worker.input_rows},
                       {"shuffle_bytes", worker.shuffle_bytes},
                       {"sample_s", worker.sample_s},
                       {"load_s", worker.load_s},
                       {"compute_s", worker.compute_s},
                       {"comm_s", worker.comm_s},
                       {"peak_rss_bytes", worker.peak_rss_bytes},
                       {"device_bytes", worker.device_bytes}});
  }
  return workers;
}

Json layers_of(const RunDigest& run) {
  Json layers = Json::array();
  for (const auto& routes : run.layers) {
    Json layer = Json::object();
    for (const auto& [route, digest] : routes) {
      layer[route] = {
          {"steps", digest.steps}, {"bytes", digest.bytes}, {"bytes_pull", digest.bytes_pull}};
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

Json to_json(const RunDigest& run) {
  Json config = Json::object();
  for (const auto& [name, value] : run.config) config[name] = value;
  Json set_aside = Json::array();
  for (const SetAside& file : run.set_aside) {
    set_aside.push_back({{"file", file.file},
                         {"steps", file.steps},
                         {"first_step", file.first_step},
                         {"last_step", file.last_step}});
  }
  return {{"name", run.name},
          {"path", run.path},
          {"state", run.state},
          {"reason", run.reason},
          {"dataset", run.dataset},
          {"device", run.device},
          {"metric", run.metric},
          {"version", run.version},
          {"world", run.world},
          {"total_steps", run.total_steps},
          {"parameters", run.parameters},
          {"start_time", or_null(run.start_time)},
          {"last_event_time", or_null(run.end_time)},
          {"elapsed", run.elapsed_s},
          {"best_valid_acc", or_null(run.best_valid)},
          {"test_acc", or_null(run.test)},
          {"config", config},
          {"totals", totals_of(run.steps)},
          {"worker_steps", run.worker_steps},
          {"workers", workers_of(run)},
          {"layers", layers_of(run)},
          {"epochs", epochs_of(run.epochs)},
          {"checkpoints", run.checkpoints},
          {"last_checkpoint_step", run.last_checkpoint_step},
          {"resumed_after", run.resumed_after},
          {"set_aside", set_aside},
          {"unreadable_lines", run.unreadable_lines},
          {"series", series_of(run.steps)}};
}

}  // namespace

Json to_json(const std::vector<RunDigest>& runs) {
  Json list = Json::array();
  for (const RunDigest& run : runs) list.push_back(to_json(run));
  return {{"gsplit", GSPLIT_VERSION}, {"runs", list}};
}

}  // namespace gsplit
