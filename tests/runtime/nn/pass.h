// One forward and backward pass of a model over any number of workers, on the CPU or on GPUs, and
// its results in original ids.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include "comm/host_route.h"
#include "comm/world.h"
#include "runtime/nn/model.h"
#include "sampler/device_batch.h"
#include "sampler/split_sampler.h"
#include "tests/support/parts.h"

namespace gsplit::test {

using Values = std::vector<double>;

/// Everything that decides one forward and backward pass.
struct Problem {
  Graph graph;
  EdgeWeights weights;               // empty: unweighted
  std::vector<Values> features;      // by original id
  std::vector<std::int32_t> labels;  // by original id
  std::vector<Id> seeds;
  std::vector<std::int32_t> fanouts;  // input layer first
  ModelOptions model;
  DrawKey key{.seed = 5, .step = 3};
};

struct Result {
  double loss = 0;  // mean over the seeds
  std::map<Id, Values> logits;
  std::map<std::string, Values> gradients;
};

inline Values to_values(ConstMatrixView view, Memory& memory, Stream& stream) {
  Values values;
  const std::vector<std::byte> host = download(view, memory, stream);
  dispatch_compute(view.dtype, [&](auto type) {
    using T = decltype(type);
    const auto* const first = reinterpret_cast<const T*>(host.data());
    values.assign(first, first + host.size() / sizeof(T));
  });
  return values;
}

inline void assign(MatrixView view, const Values& values, Memory& memory, Stream& stream) {
  dispatch_rows(view.dtype, [&](auto type) {
    using T = decltype(type);
    std::vector<T> host;
    for (const double x : values) host.push_back(narrowed<T>(static_cast<compute_type<T>>(x)));
    upload(std::as_bytes(std::span(host)), view, memory, stream);
  });
}

inline GlobalRange own_range(const Renumbered& parts, Communicator& communicator) {
  const auto rank = static_cast<std::size_t>(communicator.rank());
  return {parts.bounds[rank], parts.bounds[rank + 1]};
}

/// The backend of worker `rank`: null means the host's.
using MakeBackend = std::function<std::unique_ptr<Backend>(int rank)>;

/// One worker of a pass; the caller's thread is its rank.
class Pass {
 public:
  Pass(const Problem& problem, const Renumbered& parts, Communicator& communicator,
       const MakeBackend& make_backend)
      : problem_(problem),
        part_(parts.parts[static_cast<std::size_t>(communicator.rank())]),
        seeds_(parts.owned(problem.seeds, static_cast<std::size_t>(communicator.rank()))),
        device_(make_backend ? make_backend(communicator.rank()) : nullptr),
        host_(device_ ? make_cpu_backend(1, device_->pinned()) : make_cpu_backend(1)),
        backend_(device_ ? device_.get() : host_.get()),
        stream_(backend_->memory().create_stream()),
        row_traffic_(communicator, *backend_),
        context_{*backend_, *host_, *stream_, communicator, row_traffic_, progress_, {}},
        sampler_(part_.topology(), parts.bounds, *host_, communicator),
        scales_(gcn_scales(part_.topology(), own_range(parts, communicator), backend_->memory(),
                           *stream_)),
        model_(problem.model, scales_, *backend_, *stream_) {}

  Model& model() { return model_; }
  /// A parameter's values.
  void assign(ParameterId id, const Values& values) {
    test::assign(model_.parameters().value(id), values, backend_->memory(), *stream_);
  }
  Values values_of(ConstMatrixView view) { return to_values(view, backend_->memory(), *stream_); }

  /// Adds this worker's logits and, on rank 0, the loss and the gradients of all workers to
  /// `result`.
  void run(Result& result, std::mutex& mutex) {
    const MiniBatch batch = sampler_.sample(seeds_,
                                            {.fanouts = problem_.fanouts,
                                             .key = problem_.key,
                                             .invert_input = model_.needs_input_inverse()},
                                            *stream_);
    std::vector<OriginalId> ids;
    for (LocalId node : batch.nodes.span()) ids.push_back(part_.original_ids[value(node)]);
    const DeviceBatch on_device(batch, backend_->memory(), *stream_);
    const DeviceArray<OriginalId> device_ids = context_.to_device(ids);
    const ModelBatch model_batch{on_device.get(), device_ids.span(), problem_.key};
    ForwardState state;
    const Matrix logits = model_.forward(model_batch, input(batch, ids), state, context_);
    std::vector<std::int32_t> labels;
    for (std::size_t i = 0; i < seeds_.size(); ++i)
      labels.push_back(problem_.labels[value(ids[i])]);
    Matrix gradient(backend_->memory(), logits.dtype(), logits.rows(), logits.cols());
    const double batch_size = static_cast<double>(problem_.seeds.size());
    const LossSums sums = backend_->dense().cross_entropy(
        {logits.view(), context_.to_device(labels).span(), 1 / batch_size, gradient.view()},
        *stream_);
    model_.backward(model_batch, std::move(gradient), state, context_);
    row_traffic_.all_reduce_sum(model_.parameters().gradients(), *stream_);

    const std::lock_guard lock(mutex);
    result.loss += sums.loss / batch_size;
    for (std::size_t i = 0; i < seeds_.size(); ++i) {
      result.logits[value(ids[i])] =
          values_of(logits.view().slice(static_cast<std::int64_t>(i), 1));
    }
    if (context_.communicator.rank() != 0) return;
    for (std::size_t i = 0; i < model_.parameters().list().size(); ++i) {
      result.gradients[model_.parameters().list()[i].name] =
          values_of(model_.parameters().gradient({i}));
    }
  }

 private:
  Matrix input(const MiniBatch& batch, const std::vector<OriginalId>& ids) {
    const Block& block = batch.layers.front().block;
    Matrix rows(backend_->memory(), problem_.model.dtype, block.num_sources(),
                problem_.model.in_width);
    Values own;
    for (const OriginalId id : ids) {
      const Values& features = problem_.features[value(id)];
      own.insert(own.end(), features.begin(), features.end());
    }
    test::assign(rows.view().slice(0, block.num_own), own, backend_->memory(), *stream_);
    return rows;
  }

  const Problem& problem_;
  const Renumbered::Part& part_;
  std::vector<LocalId> seeds_;
  std::unique_ptr<Backend> device_;  // null on the CPU
  std::unique_ptr<Backend> host_;
  Backend* backend_;
  std::unique_ptr<Stream> stream_;
  Progress progress_;
  HostRoute row_traffic_;
  Context context_;
  SplitSampler sampler_;
  GcnScales scales_;
  Model model_;
};

/// `weights`: by name, or the initial ones of the model's seed.
inline Result run(const Problem& problem, int workers,
                  const std::optional<std::map<std::string, Values>>& weights = std::nullopt,
                  const MakeBackend& make_backend = {}) {
  const Renumbered parts = renumber(problem.graph, random_owners(problem.graph.size(), workers, 21),
                                    workers, problem.weights);
  Result result;
  std::mutex mutex;
  run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
    Pass pass(problem, parts, communicator, make_backend);
    ParameterSet& parameters = pass.model().parameters();
    for (std::size_t i = 0; weights && i < parameters.list().size(); ++i) {
      pass.assign({i}, weights->at(parameters.list()[i].name));
    }
    pass.run(result, mutex);
  });
  return result;
}

/// |a - b| / |b| in the Euclidean norm.
inline double relative_error(const Values& a, const Values& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-300));
}

struct ModelCase {
  const char* type;
  bool norm_and_residual;
  bool weighted = false;
  friend void PrintTo(const ModelCase& model, std::ostream* out) {
    *out << model.type << (model.norm_and_residual ? "_norm_residual" : "")
         << (model.weighted ? "_weighted" : "");
  }
};

inline Problem random_problem(const ModelCase& model, DType dtype) {
  Problem problem;
  problem.graph = random_graph(300, 77);
  if (model.weighted) problem.weights = random_weights(problem.graph, 9);
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  for (std::size_t v = 0; v < 300; ++v) {
    Values row(9);
    for (double& x : row) x = static_cast<float>(normal(random));
    problem.features.push_back(row);
    problem.labels.push_back(static_cast<std::int32_t>(random() % 4));
  }
  for (Id v = 1; v < 300; v += 7) problem.seeds.push_back(v);
  problem.fanouts = {4, 3, 5};
  problem.model = {.type = model.type,
                   .num_layers = 3,
                   .in_width = 9,
                   .hidden_width = 8,
                   .out_width = 4,
                   .heads = 2,
                   .dropout = 0.4,
                   .attention_dropout = 0.3,
                   .layer_norm = model.norm_and_residual,
                   .residual = model.norm_and_residual,
                   .dtype = dtype,
                   .seed = 8};
  return problem;
}

inline std::map<std::string, Values> initial_weights(const Problem& problem) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->memory().create_stream();
  const GcnScales scales;  // no layer is run
  Model model(problem.model, scales, *backend, *stream);
  std::map<std::string, Values> weights;
  for (std::size_t i = 0; i < model.parameters().list().size(); ++i) {
    weights[model.parameters().list()[i].name] =
        to_values(model.parameters().value({i}), backend->memory(), *stream);
  }
  return weights;
}

}  // namespace gsplit::test
