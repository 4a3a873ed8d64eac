// A graph convolution: the seam between the model and its layer types.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/philox.h"
#include "runtime/nn/context.h"
#include "runtime/nn/order.h"
#include "runtime/nn/parameters.h"
#include "sampler/block.h"

namespace gsplit {

/// What GCN's normalisation takes from the full graph, of a worker's own nodes by LocalId, in
/// device memory. D is the sum of the weights of a node's in-edges but self-loops, in stored order;
/// an edge of an unweighted graph weighs 1.
struct GcnScales {
  Buffer<double> inverse_root;  ///< (D + 1)^-1/2, then those of copies of other workers' rows
  Buffer<double> mean;          ///< the same times the in-degree; parallel edges and loops count
};

/// Given the inverse roots of the own nodes, returns those of the copies (MiniBatch::nodes).
using InverseRootsOfCopies = std::function<std::vector<double>(std::span<const double>)>;

/// `of_copies`: empty where there are none.
GcnScales gcn_scales(const TopologyView& topology, GlobalRange own, Memory& memory, Stream& stream,
                     const InverseRootsOfCopies& of_copies = {});

/// Nodes as rows of a matrix over all own nodes.
inline std::span<const RowIndex> as_rows(std::span<const LocalId> nodes) {
  return {reinterpret_cast<const RowIndex*>(nodes.data()), nodes.size()};
}

/// What a layer does with the sum of products of its convolution, where nothing stands between: a
/// convolution may do it, and its backward, itself.
struct LayerEnd {
  ConstMatrixView bias;
  Activation activation = Activation::kNone;
  Dropout dropout;
  ConstMatrixView output;    ///< backward: what forward wrote; empty where nothing is undone
  MatrixView gradient;       ///< backward: of `output`, becomes that of the convolution's output
  MatrixView bias_gradient;  ///< backward
};

/// Which own source rows a layer reads as rows of a matrix; it takes others from wherever they lie
/// (LayerBatch::places).
enum class MatrixRows : std::uint8_t { kAll, kDestinations, kNone };

/// One layer of one mini-batch as a convolution sees it; all arrays are in device memory.
struct LayerBatch {
  const SampledLayer& sampled;
  std::span<const LocalId> nodes;            ///< (num_own) of the own source rows
  std::span<const OriginalId> original_ids;  ///< (num_own)
  DrawKey key;  ///< seed, step, layer; the purpose is the convolution's
  bool training = true;
  /// The sources may be a slice of their columns, the first of which this is: the pass is then
  /// partial. A worker has all sources of such a block.
  std::optional<std::int64_t> first_column = {};
  /// (num_sources) where source rows are, if not all are in the matrix of sources: of the input
  /// layer, if the convolution's matrix_rows() are there.
  RowPlaces places = {};
  /// What the convolution may do too; backward: what it has done, so that it undoes it.
  const LayerEnd* end = nullptr;

  const Block& block() const { return sampled.block; }
  bool partial() const { return first_column.has_value(); }
  /// The columns of a weight, or of its gradient, that `count` columns of the sources meet.
  template <class View>
  View columns_of(View weight, std::int64_t count) const {
    return partial() ? weight.columns(*first_column, count) : weight;
  }
};

/// What forward keeps for backward.
struct ConvState {
  Order order = Order::kAggregate;  ///< of this batch
  /// (num_sources, in). Own rows as given, but GCN scales them by positive factors; received rows
  /// where the type pulls its input.
  Matrix sources;
  std::vector<Matrix> saved;  ///< whatever else the type needs
  bool ended = false;         ///< forward has done what LayerBatch::end says
};

struct ConvOptions {
  std::int64_t in = 0;
  std::int64_t out = 0;  ///< of the whole row: after the heads are concatenated, or averaged
  int heads = 1;
  bool concat_heads = true;
  double attention_dropout = 0;
  Order order = Order::kAuto;
  bool input_layer = false;  ///< no gradient of its sources is ever asked for
};

/// Forward and backward are collective: each may shuffle rows between workers.
class Conv {
 public:
  virtual ~Conv() = default;
  virtual std::int64_t in_width() const = 0;
  virtual std::int64_t out_width() const = 0;
  /// Whether backward reads Block::inverse even where no source gradient is asked for.
  virtual bool needs_inverse() const { return false; }
  /// Whatever the block is.
  virtual MatrixRows matrix_rows() const { return MatrixRows::kAll; }
  /// (1, out) added to the output by the caller.
  virtual ParameterId bias() const = 0;

  /// Writes `output` (num_destinations, out), before the bias; of the sources' dtype or, of the
  /// last layer, of the weights'. `sources`: (num_sources, in) with the own rows filled in; moved
  /// into `state`.
  virtual void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
                       Context& context) = 0;
  /// Writes the gradients of its weights and, where `source_gradient` is not null, a matrix whose
  /// first num_own rows are the gradients of the own source rows. `output_gradient`:
  /// (num_destinations, out), of the sources' dtype.
  virtual void backward(const LayerBatch& batch, const ConvState& state,
                        ConstMatrixView output_gradient, Matrix* source_gradient,
                        Context& context) = 0;

  /// A type whose output begins with a sum over the columns of its input can be computed slice by
  /// slice. For a partial batch forward() writes that slice's part of the sum, always aggregating
  /// first; complete() makes the output of the total. complete_backward() returns the gradient of
  /// the total, in `made` where it is not `output_gradient` itself; of it backward() of a partial
  /// batch adds to the gradients of its columns, and neither asks for source gradients.
  virtual bool has_partial() const { return true; }
  virtual void complete(const LayerBatch& batch, Matrix total, MatrixView output, ConvState& state,
                        Context& context);
  virtual ConstMatrixView complete_backward(const LayerBatch& batch, const ConvState& state,
                                            ConstMatrixView output_gradient, Matrix& made,
                                            Context& context);
};

/// SAGE, GCN and GAT sum over neighbours before or after the product with their weights
/// (runtime/nn/order.h). What is summed is what travels: rows as they come in, or transformed ones,
/// which their owner makes once.
///
/// The tensors of a convolution are declared in `parameters` under `prefix`, "convs.0". SAGE and
/// GCN use the weights w_ij of a Block's edges where it has them; GIN and GAT have no use for
/// weights.

/// GraphSAGE with the mean aggregator (W. Hamilton et al., arXiv 1706.02216), as PyG's SAGEConv:
/// lin_l(mean of in-neighbours) + lin_r(own row); bias on lin_l; no in-neighbour: the mean is 0.
/// With weights, as DGL's SAGEConv: the mean is sum of w_ij h_j / number of in-neighbours drawn.
std::unique_ptr<Conv> make_sage_conv(ParameterSet& parameters, const std::string& prefix,
                                     const ConvOptions& options);

/// GCN (T. Kipf and M. Welling, arXiv 1609.02907), as PyG's GCNConv: one self-loop per node in
/// place of its own; weights 1 / sqrt((d_i + 1)(d_j + 1)) of full-graph in-degrees; a sample of k
/// of d_i in-neighbours counts d_i / k each. With weights d_i + 1 becomes 1 + the sum of the
/// in-edges' w_ij, a neighbour's coefficient is multiplied by its w_ij, and the self-loop weighs 1.
/// `scales` must outlive it.
std::unique_ptr<Conv> make_gcn_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options, const GcnScales& scales);

/// GIN (K. Xu et al., arXiv 1810.00826), as PyG's GINConv in its GIN model: a two-layer perceptron
/// of own row + sum of in-neighbours; eps is 0 and not trained.
std::unique_ptr<Conv> make_gin_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options);

/// GAT (P. Velickovic et al., arXiv 1710.10903), as PyG's GATConv: softmax attention over the
/// in-neighbours and the node itself.
std::unique_ptr<Conv> make_gat_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options);

/// `values` in the dtype `rows`: themselves, or a copy that is rounded to bf16 or widened from it.
class Operand {
 public:
  Operand(ConstMatrixView values, DType rows, Context& context);
  ConstMatrixView view() const { return view_; }

 private:
  Matrix copy_;
  ConstMatrixView view_;
};

/// The kinds of products that all convolutions are made of.
/// output = input * weight^T, or += with `accumulate`. weight: (out, in).
void apply_linear(ConstMatrixView input, ConstMatrixView weight, MatrixView output, bool accumulate,
                  Context& context);
/// gradient (out, in) = output_gradient^T * input, or += with `accumulate`.
void linear_weight_gradient(ConstMatrixView output_gradient, ConstMatrixView input,
                            MatrixView gradient, bool accumulate, Context& context);
/// gradient (rows, in) = output_gradient * weight, or += with `accumulate`.
void linear_input_gradient(ConstMatrixView output_gradient, ConstMatrixView weight,
                           MatrixView gradient, bool accumulate, Context& context);

}  // namespace gsplit
