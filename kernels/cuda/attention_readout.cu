// attention_readout: x (V, C), weight (C, C), batch (V,) -> (N, C), and its backward pass.
//
// A block owns an expression from beginning to end: it finds the expression's symbols by searching the sorted batch,
// then mean, product, tanh, scores and weighted sum follow one another behind barriers. Threads own channels where
// symbols are summed and warps own rows where channels are summed, so every sum has one owner and one order. Vectors of
// an expression travel between the steps in device memory of its own (they stay in the caches), so that the number of
// channels is free. The gradient of `weight` is a plain product of what the backward pass leaves, made by the caller.
#include "attention_readout.h"

#include <cmath>

#include "device.h"
#include "dtypes.h"
#include "entry.h"
#include "workspace.h"

namespace hmeg {
namespace {

constexpr int kBlock = 256;
constexpr int kWarps = kBlock / 32;
constexpr int kColumns = 64;  // of one step of the product: kBlock / kColumns threads share a column
constexpr int kShares = kBlock / kColumns;

HMEG_DEVICE int lane() { return thread_index() % 32; }
HMEG_DEVICE int warp() { return thread_index() / 32; }

template <typename A>
HMEG_DEVICE A sigmoid(A value) {
  return A(1) / (A(1) + std::exp(-value));
}

// The first position in sorted[0, count) that is not below `value`, in every lane. A whole warp searches: each step
// leaves a thirty-second, so a batch of 32,768 symbols takes three loads one after another instead of fifteen.
HMEG_DEVICE int64_t first_not_below(const int64_t* sorted, int64_t count, int64_t value) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t step = (high - low + 31) / 32;
    const int64_t last = low + step * (lane() + 1) - 1;
    low += step * warp_sum(last < high && sorted[last] < value ? 1 : 0);
    high = low + step - 1 < high ? low + step - 1 : high;
  }
  return low;
}

// One expression: its rows of x, and the vectors (C each) and scalars per symbol that its steps hand on.
template <typename T>
struct Expression {
  using A = Accumulator<T>;
  const T* x;
  int64_t first, count, channels;

  HMEG_DEVICE Expression(const T* all, const int64_t* batch, int64_t symbols, int64_t channels) : channels(channels) {
    first = first_not_below(batch, symbols, block_index());
    count = first_not_below(batch, symbols, block_index() + 1) - first;
    x = all + first * channels;
  }

  // mean = the mean of the rows, context = tanh(mean W).
  HMEG_DEVICE void find_context(const T* weight, A* mean, A* context) const {
    for (int64_t c = thread_index(); c < channels; c += kBlock) {
      A sum = A(0);
      for (int64_t v = 0; v < count; ++v) sum += widen(x[v * channels + c]);
      mean[c] = count > 0 ? sum / A(count) : A(0);
    }
    sync_block();
    HMEG_SHARED(A, shares, kBlock);
    const int share = thread_index() / kColumns, column = thread_index() % kColumns;
    for (int64_t begin = 0; begin < channels; begin += kColumns) {
      A sum = A(0);
      if (begin + column < channels) {
        const T* const factors = weight + begin + column;
        for (int64_t i = share; i < channels; i += kShares) sum += mean[i] * widen(factors[i * channels]);
      }
      shares[thread_index()] = sum;
      sync_block();
      if (share == 0 && begin + column < channels) {
        for (int k = 1; k < kShares; ++k) sum += shares[k * kColumns + column];
        context[begin + column] = std::tanh(sum);
      }
      sync_block();
    }
  }

  // The product of a row of x with a vector, in every lane of the warp.
  template <typename B>
  HMEG_DEVICE A dot(int64_t v, const B* vector) const {
    A sum = A(0);
    for (int64_t c = lane(); c < channels; c += 32) sum += widen(x[v * channels + c]) * widen(vector[c]);
    return warp_sum(sum);
  }

  // A channel of the sum of all rows, each times its factor.
  HMEG_DEVICE A weighted(const A* factors, int64_t c) const {
    A sum = A(0);
    for (int64_t v = 0; v < count; ++v) sum += factors[v] * widen(x[v * channels + c]);
    return sum;
  }
};

template <typename T>
HMEG_KERNEL attention_readout_forward(const T* all, const T* weight, const int64_t* batch, T* out,
                                      Accumulator<T>* means, Accumulator<T>* contexts, Accumulator<T>* all_scores,
                                      int64_t symbols, int64_t channels) {
  using A = Accumulator<T>;
  const Expression<T> expression(all, batch, symbols, channels);
  A* const context = contexts + block_index() * channels;
  A* const scores = all_scores + expression.first;
  expression.find_context(weight, means + block_index() * channels, context);
  for (int64_t v = warp(); v < expression.count; v += kWarps) {
    const A score = sigmoid(expression.dot(v, context));
    if (lane() == 0) scores[v] = score;
  }
  sync_block();
  for (int64_t c = thread_index(); c < channels; c += kBlock) {
    out[block_index() * channels + c] = narrow<T>(expression.weighted(scores, c));
  }
}

// grad_x, and for the gradient of `weight`, means^T @ grad_products: the means and the gradients of the products that
// tanh is taken of.
template <typename T>
HMEG_KERNEL attention_readout_backward(const T* grads, const T* all, const T* weight, const int64_t* batch, T* grad_x,
                                       Accumulator<T>* means, Accumulator<T>* grad_products, Accumulator<T>* contexts,
                                       Accumulator<T>* grad_means, Accumulator<T>* all_scores,
                                       Accumulator<T>* all_pulls, int64_t symbols, int64_t channels) {
  using A = Accumulator<T>;
  const Expression<T> expression(all, batch, symbols, channels);
  const T* const grad = grads + block_index() * channels;
  A* const context = contexts + block_index() * channels;
  A* const grad_product = grad_products + block_index() * channels;
  A* const grad_mean = grad_means + block_index() * channels;
  A* const scores = all_scores + expression.first;
  A* const pulls = all_pulls + expression.first;  // gradients of x_v . c
  expression.find_context(weight, means + block_index() * channels, context);
  for (int64_t v = warp(); v < expression.count; v += kWarps) {
    const A score = sigmoid(expression.dot(v, context));
    const A pull = expression.dot(v, grad) * score * (A(1) - score);
    if (lane() == 0) scores[v] = score, pulls[v] = pull;
  }
  sync_block();
  for (int64_t c = thread_index(); c < channels; c += kBlock) {
    grad_product[c] = expression.weighted(pulls, c) * (A(1) - context[c] * context[c]);
  }
  sync_block();
  for (int64_t i = warp(); i < channels; i += kWarps) {
    A sum = A(0);
    for (int64_t j = lane(); j < channels; j += 32) sum += widen(weight[i * channels + j]) * grad_product[j];
    sum = warp_sum(sum);
    if (lane() == 0) grad_mean[i] = sum;
  }
  sync_block();
  for (int64_t c = thread_index(); c < channels; c += kBlock) {
    const A direct = widen(grad[c]), pulled = context[c], shared = grad_mean[c] / A(expression.count);
    for (int64_t v = 0; v < expression.count; ++v) {
      grad_x[(expression.first + v) * channels + c] = narrow<T>(scores[v] * direct + pulls[v] * pulled + shared);
    }
  }
}

// What the steps of an expression hand on, in accumulation precision: (N, C) and (V,) each.
template <typename A>
struct ForwardPlan {
  A *means, *contexts, *scores;

  ForwardPlan(Workspace& workspace, const AttentionReadoutForward& given)
      : means(workspace.take<A>(given.graphs * given.channels)),
        contexts(workspace.take<A>(given.graphs * given.channels)),
        scores(workspace.take<A>(given.symbols)) {}
};

template <typename A>
struct BackwardPlan {
  A *contexts, *grad_means, *scores, *pulls;

  BackwardPlan(Workspace& workspace, const AttentionReadoutBackward& given)
      : contexts(workspace.take<A>(given.graphs * given.channels)),
        grad_means(workspace.take<A>(given.graphs * given.channels)),
        scores(workspace.take<A>(given.symbols)),
        pulls(workspace.take<A>(given.symbols)) {}
};

template <template <typename> class Plan, typename P>
int64_t workspace(const P& given, const Call& call) {
  Workspace counting;
  if (call.dtype == kFloat64) {
    Plan<double>(counting, given);
  } else {
    Plan<float>(counting, given);
  }
  return counting.bytes();
}

constexpr auto forward_workspace = workspace<ForwardPlan, AttentionReadoutForward>;
constexpr auto backward_workspace = workspace<BackwardPlan, AttentionReadoutBackward>;

const char* run_forward(const AttentionReadoutForward& given, const Call& call) {
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    Workspace memory(call.workspace);
    const ForwardPlan<Accumulator<T>> plan(memory, given);
    return launch<kBlock>(attention_readout_forward<T>, given.graphs, call.stream, static_cast<const T*>(given.x),
                          static_cast<const T*>(given.weight), given.batch, static_cast<T*>(given.out), plan.means,
                          plan.contexts, plan.scores, given.symbols, given.channels);
  });
}

HMEG_ENTRY(kCuda, attention_readout_forward, run_forward, forward_workspace);

const char* run_backward(const AttentionReadoutBackward& given, const Call& call) {
  if (given.grad_weight != nullptr) return "attention_readout: on a GPU grad_weight is the caller's product";
  return with_scalar_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    Workspace memory(call.workspace);
    const BackwardPlan<A> plan(memory, given);
    return launch<kBlock>(attention_readout_backward<T>, given.graphs, call.stream, static_cast<const T*>(given.grad),
                          static_cast<const T*>(given.x), static_cast<const T*>(given.weight), given.batch,
                          static_cast<T*>(given.grad_x), reinterpret_cast<A*>(given.means),
                          reinterpret_cast<A*>(given.grad_products), plan.contexts, plan.grad_means, plan.scores,
                          plan.pulls, given.symbols, given.channels);
  });
}

HMEG_ENTRY(kCuda, attention_readout_backward, run_backward, backward_workspace);

}  // namespace
}  // namespace hmeg
