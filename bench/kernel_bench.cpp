// Every kernel of the registry, its passes over one tensor in memory, beside a memcpy of the bytes of its inputs and output.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/check.h"
#include "base/random.h"
#include "methods/method.h"
#include "simd/convert.h"
#include "simd/ops.h"

namespace {

using namespace crucible;

constexpr std::int64_t kRows = 1024;  // enough tiles for the methods to look at a sample first
constexpr std::int64_t kRow = 1536;
constexpr std::int64_t kElems = kRows * kRow;
constexpr int kModels = 2;  // where the method takes so many

// Given to the methods that have them; the others keep their defaults.
constexpr std::array<std::pair<const char*, const char*>, 6> kParameters = {
    {{"weight", "0.5"}, {"density", "0.5"}, {"epsilon", "0.1"}, {"gamma", "0.01"}, {"t", "0.4"}, {"select_topk", "0.5"}}};

double noise(std::uint32_t seed, std::int64_t i) {
  double sum = -2;
  for (std::uint64_t k = 0; k < 4; ++k) sum += random_u32({{7, seed}}, static_cast<std::uint64_t>(i) * 4 + k) / 4294967296.0;
  return sum;
}

// A base (0), and models that moved a little from it; all of them numbers that bf16 holds, as those of most models are.
const std::vector<float>& weights(std::uint32_t number) {
  static const std::vector<std::vector<float>> all = [] {
    std::vector<std::vector<float>> made(kModels + 1, std::vector<float>(kElems));
    std::vector<std::uint16_t> rounded(kElems);
    for (std::uint32_t m = 0; m < made.size(); ++m) {
      for (std::int64_t i = 0; i < kElems; ++i)
        made[m][static_cast<std::size_t>(i)] = static_cast<float>(0.03 * noise(0, i) + (m == 0 ? 0.0 : 0.001 * noise(m, i)));
      simd::store_bf16(made[m].data(), rounded.data(), kElems);
      simd::load_bf16(rounded.data(), made[m].data(), kElems);
    }
    return made;
  }();
  return all[number];
}

// What a model moved: kernels of task arithmetic get this from the reading of the inputs.
const std::vector<float>& moves(std::uint32_t number) {
  static const std::vector<std::vector<float>> all = [] {
    std::vector<std::vector<float>> made(kModels + 1, std::vector<float>(kElems));
    for (std::uint32_t m = 0; m < made.size(); ++m) simd::subtract(weights(m).data(), weights(0).data(), made[m].data(), kElems);
    return made;
  }();
  return all[number];
}

void done(benchmark::State& state, std::int64_t vectors) {
  state.SetItemsProcessed(state.iterations() * kElems);
  state.SetBytesProcessed(state.iterations() * kElems * vectors * static_cast<std::int64_t>(sizeof(float)));
}

void copy_bytes(benchmark::State& state) {
  const std::vector<float>& in = weights(1);
  std::vector<float> out(kElems);
  for (auto _ : state) {
    std::memcpy(out.data(), in.data(), kElems * sizeof(float));
    benchmark::ClobberMemory();
  }
  done(state, 2);
}
BENCHMARK(copy_bytes);

Params parameters(const FieldTable& table) {
  Params params(table);
  for (const auto& [name, text] : kParameters) {
    const auto index = table.find(name);
    if (!index) continue;
    std::string why;
    const auto value = table[*index].parse(text, false, why);
    CHECK(value.has_value(), "{} {}", name, why);
    params.set(*index, *value, {Origin::Level::kModel, {}, {}, {}});
  }
  return params;
}

// One merge of the tensor by one thread, with the kernel's own memory taken anew.
class Merge {
 public:
  explicit Merge(const Method& method)
      : method_(method),
        tiling_(make_tiling(shape_, method.grain)),
        has_base_(method.base != BaseRule::kOnlyListed),
        models_(std::clamp(kModels, method.min_models, method.max_models)),
        global_(parameters(*method.global)),
        out_(kElems) {
    for (int m = 0; m < models_; ++m) {
      of_model_.push_back(parameters(*method.model));
      keys_.push_back(make_random_key(1, "tensor", std::to_string(m)));
      inputs_.push_back(m);
    }
  }

  std::int64_t vectors() const { return models_ + (has_base_ ? 1 : 0) + 1; }

  void run() {
    KernelSpec spec;
    spec.tensor = "tensor";
    spec.shape = &shape_;
    spec.tiling = tiling_;
    spec.has_base = has_base_;
    spec.global = &global_;
    spec.models = of_model_;
    spec.random_keys = keys_;
    spec.inputs = inputs_;
    spec.keep_budget_bytes = std::int64_t{1} << 28;
    const std::unique_ptr<Kernel> kernel = method_.make_kernel(spec);
    kernel->prepare();
    Measure measure;
    measure.models.resize(static_cast<std::size_t>(models_));
    int pass = 0;
    for (Next next = kernel->first(); next == Next::kReduce; ++pass) {
      std::vector<double> sums(static_cast<std::size_t>(kernel->sum_count(pass)));
      std::vector<double> of_tile(sums.size());
      std::vector<std::uint64_t> counts(static_cast<std::size_t>(kernel->count_size(pass)));
      for_each_tile(kernel->input_form(), [&](const Tile& tile, const TileInputs& in) {
        if (!kernel->wants(tile)) return;
        std::fill(of_tile.begin(), of_tile.end(), 0.0);
        kernel->reduce(pass, tile, in, of_tile.data(), counts.data(), measure, scratch_);
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += of_tile[i];
      });
      next = kernel->seal(pass, {sums, counts});
    }
    for_each_tile(kernel->input_form(),
                  [&](const Tile& tile, const TileInputs& in) { kernel->map(tile, in, out_.data() + tile.begin, measure, scratch_); });
    benchmark::DoNotOptimize(measure);
    benchmark::ClobberMemory();
  }

 private:
  template <typename Use>
  void for_each_tile(InputForm form, const Use& use) const {
    std::vector<const float*> at(static_cast<std::size_t>(models_));
    for (std::int64_t t = 0; t < tiling_.tiles; ++t) {
      const Tile tile = tiling_.tile(t);
      for (std::uint32_t m = 0; m < at.size(); ++m) at[m] = (form == InputForm::kTaskVectors ? moves : weights)(m + 1).data() + tile.begin;
      TileInputs in;
      if (has_base_) in.base = weights(0).data() + tile.begin;
      in.in_form(form) = at;
      use(tile, in);
    }
  }

  const Method& method_;
  Shape shape_ = {kRows, kRow};
  Tiling tiling_;
  bool has_base_;
  int models_;
  Params global_;
  std::vector<Params> of_model_;
  std::vector<RandomKey> keys_;
  std::vector<int> inputs_;
  std::vector<float> out_;
  Scratch scratch_;
};

const bool registered = [] {
  for (const Method* method : all_methods()) {
    benchmark::RegisterBenchmark(std::string(method->name).c_str(), [method](benchmark::State& state) {
      Merge merge(*method);
      for (auto _ : state) merge.run();
      done(state, merge.vectors());
    });
  }
  return true;
}();

}  // namespace
