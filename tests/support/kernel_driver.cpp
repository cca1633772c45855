#include "support/kernel_driver.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "base/check.h"
#include "tensor/convert.h"

namespace crucible::test {
namespace {

// Short chunks, so that tensors of a few tiles have several.
constexpr std::int64_t kChunkTiles = 2;

// What one tile adds up to.
struct Part {
  std::vector<double> sums;
  Measure measure;
};

struct Worker {
  Scratch scratch;
  std::vector<std::uint64_t> counts;
  std::vector<std::int64_t> tiles;
};

class Drive {
 public:
  Drive(const Method& method, const MergeCase& merge, const DriveOptions& options)
      : merge_(merge),
        options_(options),
        tiling_(make_tiling(merge.shape, method.grain)),
        global_(make_params(*method.global, merge.global)),
        workers_(static_cast<std::size_t>(options.workers)),
        rng_(options.shuffle.value_or(0)) {
    tiling_.chunk_tiles = std::min(tiling_.chunk_tiles, kChunkTiles);
    for (std::size_t i = 0; i < merge.models.size(); ++i) {
      models_.push_back(make_params(*method.model, merge.args_of(i)));
      keys_.push_back(merge.key_of(i));
      CHECK(std::ssize(merge.models[i]) == tiling_.elems);
    }
    CHECK(!merge.base || std::ssize(*merge.base) == tiling_.elems);
    KernelSpec spec;
    spec.shape = &merge.shape;
    spec.tiling = tiling_;
    spec.has_base = merge.base.has_value();
    spec.global = &global_;
    spec.models = models_;
    spec.random_keys = keys_;
    spec.tensor = merge.tensor;
    for (std::size_t i = 0; i < models_.size(); ++i) inputs_.push_back(static_cast<int>(i));
    spec.inputs = inputs_;
    spec.keep_budget_bytes = options.keep_budget_bytes;
    run_survey(method, spec);
    spec.survey = survey_.get();
    kernel_ = method.make_kernel(spec);
    kernel_->prepare();
  }

  Driven run() {
    result_.out.assign(static_cast<std::size_t>(tiling_.elems), std::numeric_limits<float>::quiet_NaN());
    result_.measure.models.resize(models_.size());
    bool mapping = kernel_->first() == Next::kMap;
    // A job without tiles is never started, so it is never sealed.
    while (!mapping && tiling_.tiles > 0) {
      run_pass(false);
      mapping = seal() == Next::kMap;
      ++result_.reduce_passes;
    }
    run_pass(true);
    result_.notes = kernel_->notes();
    result_.remark = kernel_->remark();
    note_untaken(global_);
    for (const Params& p : models_) note_untaken(p);
    return std::move(result_);
  }

 private:
  // The whole model is this one tensor.
  void run_survey(const Method& method, const KernelSpec& spec) {
    if (method.make_survey == nullptr) return;
    NoFindings findings;
    survey_ = method.make_survey({&spec, 1}, findings);
    if (survey_ == nullptr) return;
    Worker worker;
    Next next = Next::kReduce;
    for (int pass = 0; next == Next::kReduce; ++pass) {
      worker.counts.assign(static_cast<std::size_t>(survey_->count_size(pass)), 0);
      for (std::int64_t t = 0; survey_->wants(pass, 0) && t < tiling_.tiles; ++t) {
        with_inputs(tiling_.tile(t), survey_->input_form(),
                    [&](const TileInputs& in) { survey_->see(pass, 0, tiling_.tile(t), in, worker.counts.data(), worker.scratch); });
      }
      next = survey_->seal(pass, worker.counts);
    }
  }

  // Buffers of exactly the tile's size: a read past the end is seen by the address sanitizer.
  template <typename Use>
  void with_inputs(const Tile& tile, InputForm form, const Use& use) const {
    const auto cut = [&tile](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + tile.begin, all.begin() + tile.begin + tile.count);
    };
    std::vector<float> base;
    std::vector<std::vector<float>> values;
    std::vector<const float*> pointers;
    TileInputs in;
    if (merge_.base) {
      base = cut(*merge_.base);
      in.base = base.data();
    }
    for (const auto& m : merge_.models) values.push_back(cut(m));
    for (auto& v : values) {
      if (form == InputForm::kTaskVectors) std::transform(v.begin(), v.end(), base.begin(), v.begin(), std::minus<>());
      pointers.push_back(v.data());
    }
    in.in_form(form) = pointers;
    use(in);
  }

  void run_pass(bool mapping) {
    sums_.assign(mapping ? 0 : static_cast<std::size_t>(kernel_->sum_count(result_.reduce_passes)), 0.0);
    parts_.assign(static_cast<std::size_t>(tiling_.tiles), {});
    deal_chunks();
    const auto work = [this, mapping](Worker& worker) {
      for (const std::int64_t t : worker.tiles) process(tiling_.tile(t), mapping, worker);
    };
    if (options_.threads == Threads::kReal) {
      std::vector<std::jthread> threads;
      for (Worker& w : workers_) threads.emplace_back([&work, &w] { work(w); });
    } else {
      for (Worker& w : workers_) work(w);
    }
    for (const Part& part : parts_) {
      for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += part.sums[i];
      result_.measure.add(part.measure);
    }
  }

  void deal_chunks() {
    std::vector<std::int64_t> order;
    for (std::int64_t c = 0; c < tiling_.chunks(); ++c) order.push_back(c);
    for (std::size_t i = order.size(); options_.shuffle && i > 1; --i) {
      std::swap(order[i - 1], order[static_cast<std::size_t>(below(rng_, static_cast<std::int64_t>(i)))]);
    }
    for (Worker& w : workers_) {
      w.tiles.clear();
      w.counts.clear();
    }
    for (std::size_t i = 0; i < order.size(); ++i)
      tiling_.for_tiles_of_chunk(order[i], [&](const Tile& tile) { workers_[i % workers_.size()].tiles.push_back(tile.index); });
  }

  void process(const Tile& tile, bool mapping, Worker& worker) {
    with_inputs(tile, kernel_->input_form(), [&](const TileInputs& in) { process(tile, in, mapping, worker); });
  }

  void process(const Tile& tile, const TileInputs& in, bool mapping, Worker& worker) {
    Part& part = parts_[static_cast<std::size_t>(tile.index)];
    part.measure.models.resize(models_.size());
    if (!mapping) {
      part.sums.assign(sums_.size(), 0.0);
      worker.counts.resize(static_cast<std::size_t>(kernel_->count_size(result_.reduce_passes)));
      if (!kernel_->wants(tile)) return;
      kernel_->reduce(result_.reduce_passes, tile, in, part.sums.data(), worker.counts.data(), part.measure, worker.scratch);
      return;
    }
    constexpr std::size_t kGuard = 64;
    const float poison = std::bit_cast<float>(0x7FB0BADBu);  // a NaN that no arithmetic makes
    std::vector<float> out(static_cast<std::size_t>(tile.count) + kGuard, poison);
    kernel_->map(tile, in, out.data(), part.measure, worker.scratch);
    part.measure.elems += tile.count;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const bool untouched = std::bit_cast<std::uint32_t>(out[i]) == 0x7FB0BADBu;
      CHECK(untouched == (i >= static_cast<std::size_t>(tile.count)), "tile {} element {}", tile.index, i);
    }
    std::copy_n(out.begin(), tile.count, result_.out.begin() + tile.begin);
  }

  Next seal() {
    std::vector<std::uint64_t> total(static_cast<std::size_t>(kernel_->count_size(result_.reduce_passes)));
    for (const Worker& w : workers_) {
      for (std::size_t i = 0; i < w.counts.size(); ++i) total[i] += w.counts[i];
    }
    return kernel_->seal(result_.reduce_passes, {sums_, total});
  }

  void note_untaken(const Params& params) {
    for (std::size_t i = 0; i < params.table().size(); ++i) {
      if (!params.was_taken(i)) result_.untaken.push_back(params.table()[i].name);
    }
  }

  const MergeCase& merge_;
  const DriveOptions& options_;
  Tiling tiling_;
  Params global_;
  std::vector<Params> models_;
  std::vector<RandomKey> keys_;
  std::vector<int> inputs_;
  std::unique_ptr<Survey> survey_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<Worker> workers_;
  Rng rng_;
  std::vector<double> sums_;
  std::vector<Part> parts_;
  Driven result_;
};

float round_to(DType dtype, float x) {
  std::uint16_t stored = 0;
  store_floats(dtype, &x, &stored, 1);
  load_floats(dtype, &stored, &x, 1);
  return x;
}

float make_value(Values kind, Rng& rng) {
  // The sum of four uniform numbers: a bell without the differences between standard libraries.
  const double bell = uniform(rng, -1, 1) + uniform(rng, -1, 1) + uniform(rng, -1, 1) + uniform(rng, -1, 1);
  switch (kind) {
    case Values::kNormal: return static_cast<float>(0.02 * bell);
    case Values::kHalf: return round_to(DType::kF16, static_cast<float>(bell));
    case Values::kBFloat: return round_to(DType::kBF16, static_cast<float>(bell));
    case Values::kFew: return static_cast<float>(below(rng, 7) - 3) * 0.125f;
    case Values::kSparse: return below(rng, 8) == 0 ? static_cast<float>(bell) : (below(rng, 2) == 0 ? 0.0f : -0.0f);
    case Values::kSubnormal: return static_cast<float>(bell) * 1.5e-38f;
    case Values::kHuge: return static_cast<float>(bell) * 1e30f;
    case Values::kSpread: return std::ldexp(static_cast<float>(bell), static_cast<int>(below(rng, 61)) - 30);
  }
  return 0;
}

}  // namespace

Arg::Arg(std::string n, double v) : name(std::move(n)), text(fmt::format("{}", v)) {}

std::string MergeCase::name_of(std::size_t model) const { return model < names.size() ? names[model] : fmt::format("m{}", model); }

const Args& MergeCase::args_of(std::size_t model) const {
  static const Args none;
  return model < model_args.size() ? model_args[model] : none;
}

Params make_params(const FieldTable& table, const Args& args) {
  Params params(table);
  for (const Arg& arg : args) {
    const auto index = table.find(arg.name);
    if (!index) throw std::invalid_argument(fmt::format("no parameter {}", arg.name));
    std::string why;
    const auto value = table[*index].parse(arg.text, false, why);
    if (!value) throw std::invalid_argument(fmt::format("{} {}", arg.name, why));
    params.set(*index, *value, {Origin::Level::kModel, {}, {}, {}});
  }
  return params;
}

double Driven::note(const std::string& name) const {
  for (const Kernel::Note& n : notes) {
    if (n.name == name) return n.value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

Driven run_kernel(const Method& method, const MergeCase& merge, const DriveOptions& options) { return Drive(method, merge, options).run(); }

Driven run_kernel(const std::string& method, const MergeCase& merge, const DriveOptions& options) {
  const Method* found = find_method(method);
  CHECK(found != nullptr, "no method {}", method);
  return run_kernel(*found, merge, options);
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  bits.reserve(values.size());
  for (const float v : values) bits.push_back(std::bit_cast<std::uint32_t>(v));
  return bits;
}

double uniform(Rng& rng, double low, double high) { return low + (high - low) * (static_cast<double>(rng() >> 11) * 0x1p-53); }

std::int64_t below(Rng& rng, std::int64_t n) { return static_cast<std::int64_t>(rng() % static_cast<std::uint64_t>(n)); }

std::vector<float> make_values(Values kind, std::int64_t n, Rng& rng) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = make_value(kind, rng);
  return values;
}

}  // namespace crucible::test
