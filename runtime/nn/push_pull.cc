#include "runtime/nn/push_pull.h"

#include <numeric>
#include <utility>

#include "runtime/nn/shuffle.h"

namespace gsplit {
namespace {

std::size_t rank_of(const Context& context) {
  return static_cast<std::size_t>(context.communicator.rank());
}

std::int64_t sum(const std::vector<std::size_t>& counts) {
  return static_cast<std::int64_t>(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
}

/// The rows of one worker in a matrix of all but this one's.
template <class View>
View rows_of(View all, const std::vector<std::size_t>& counts, std::size_t worker) {
  const auto begin = counts.begin();
  const auto place =
      std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(worker), std::size_t{0});
  return all.slice(static_cast<std::int64_t>(place), static_cast<std::int64_t>(counts[worker]));
}

}  // namespace

LayerBatch PushPull::batch_of(std::size_t p, const LayerBatch& own) const {
  return {.sampled = parts_[p].sampled,
          .nodes = parts_[p].nodes.span(),
          .original_ids = {},
          .key = own.key,
          .training = own.training,
          .first_column = first_column_};
}

std::vector<std::size_t> PushPull::theirs(const Context& context) const {
  std::vector<std::size_t> counts;
  for (const PushPullPart& part : parts_) counts.push_back(part.sampled.block.num_destinations);
  counts[rank_of(context)] = 0;
  return counts;
}

std::vector<std::size_t> PushPull::ours(const Context& context) const {
  const std::size_t own = rank_of(context);
  std::vector<std::size_t> counts(parts_.size(), parts_[own].sampled.block.num_destinations);
  counts[own] = 0;
  return counts;
}

void PushPull::forward(Conv& conv, const LayerBatch& own, MatrixView output, ConvState& state,
                       Context& context) {
  const std::size_t rank = rank_of(context);
  const std::vector<std::size_t> theirs = this->theirs(context), ours = this->ours(context);
  const DType rows = parts_[rank].columns.dtype();
  const std::int64_t width = conv.out_width();
  context.shuffle.add(
      {.bytes_pull = own.block().num_own * sizeof(float) *
                     static_cast<std::uint64_t>(conv.in_width() - parts_[rank].columns.cols())});

  // Of the weights' dtype, so that a sum over workers is not rounded on its way.
  const DType exact = compute_dtype(rows);
  Matrix total(context.memory(), exact, own.block().num_destinations, width);
  Matrix pushed(context.memory(), exact, sum(theirs), width);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const MatrixView part = p == rank ? total.view() : rows_of(pushed.view(), theirs, p);
    conv.forward(batch_of(p, own), std::move(parts_[p].columns), part, states_[p], context);
  }
  Matrix received(context.memory(), exact, sum(ours), width);
  exchange_among_all({pushed.view(), theirs, received.view(), ours}, context);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (p == rank) continue;
    const ConstMatrixView part = rows_of(received.view(), ours, p);
    context.backend.dense().add({part, total.view()}, context.stream);
  }
  state.sources = Matrix(context.memory(), rows, 0, conv.in_width());
  conv.complete(own, std::move(total), output, state, context);
}

void PushPull::backward(Conv& conv, const LayerBatch& own, const ConvState& state,
                        ConstMatrixView output_gradient, Context& context) {
  const std::size_t rank = rank_of(context);
  const std::vector<std::size_t> theirs = this->theirs(context), ours = this->ours(context);
  Matrix made;
  const ConstMatrixView mine = conv.complete_backward(own, state, output_gradient, made, context);
  Matrix copies(context.memory(), mine.dtype, sum(ours), mine.cols);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (p == rank) continue;
    const MatrixView copy = rows_of(copies.view(), ours, p);
    context.memory().copy(copy.data, mine.data,
                          static_cast<std::size_t>(copy.rows * copy.cols) * size_of(copy.dtype),
                          context.stream);
  }
  Matrix received(context.memory(), mine.dtype, sum(theirs), mine.cols);
  exchange_among_all({copies.view(), ours, received.view(), theirs}, context);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const ConstMatrixView gradient =
        p == rank ? mine : ConstMatrixView(rows_of(received.view(), theirs, p));
    conv.backward(batch_of(p, own), states_[p], gradient, nullptr, context);
  }
}

}  // namespace gsplit
