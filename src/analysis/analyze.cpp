#include "analysis/analyze.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <set>

#include <fmt/format.h>

#include "arch/parts.h"
#include "base/text_util.h"
#include "base/units.h"
#include "simd/ops.h"
#include "tensor/convert.h"
#include "tensor/tensor_infos.h"

namespace crucible {
namespace {

constexpr std::int64_t kBlock = 4096;  // elements whose numbers stay in the first cache level
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One checkpoint's share in a task.
struct Source {
  const Checkpoint* checkpoint = nullptr;
  const StoredTensor* tensor = nullptr;

  DType dtype() const noexcept { return tensor->info.dtype; }
  std::int64_t elem_bytes() const noexcept { return facts(dtype()).bits / 8; }
};

// Sums of one series over one tile.
struct SeriesPart {
  Moments moments;
  std::int64_t nonfinite = 0, zeros = 0, beyond_3 = 0, beyond_6 = 0, below_10 = 0, below_100 = 0, still_rows = 0;
  double smallest = std::numeric_limits<double>::infinity(), largest = -std::numeric_limits<double>::infinity();
  double l1 = 0, l2 = 0, dot_base = 0, base_l2 = 0;
  bool still = false;  // of a piece of a row
};

struct TilePart {
  std::vector<SeriesPart> series;
  std::vector<PairStats> pairs;
  std::int64_t conflicts = 0, moved = 0;
};

// A series of numbers of the task: weights of a source, or the task vector of a source over the first.
struct Series {
  std::size_t source = 0;
  bool is_delta = false;
  std::size_t model = 0;  // index among the models; of a delta
  SortBy by() const noexcept { return is_delta ? SortBy::kMagnitude : SortBy::kValue; }
};

bool is_still_bytes(const std::byte* x, std::int64_t n, std::int64_t elem_bytes) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::byte* e = x + i * elem_bytes;
    for (std::int64_t k = 0; k + 1 < elem_bytes; ++k) {
      if (e[k] != std::byte{0}) return false;
    }
    if ((e[elem_bytes - 1] & std::byte{0x7F}) != std::byte{0}) return false;
  }
  return true;
}

// Equal value for value, each in its own type.
bool are_equal_values(const Source& a, const std::byte* x, const Source& b, const std::byte* y, std::int64_t n) {
  if (a.dtype() == b.dtype() && std::memcmp(x, y, static_cast<std::size_t>(n * a.elem_bytes())) == 0) return true;
  constexpr std::int64_t kAtOnce = 64;
  std::array<float, kAtOnce> u, v;
  for (std::int64_t i = 0; i < n; i += kAtOnce) {
    const std::int64_t here = std::min(kAtOnce, n - i);
    load_floats(a.dtype(), x + i * a.elem_bytes(), u.data(), here);
    load_floats(b.dtype(), y + i * b.elem_bytes(), v.data(), here);
    for (std::size_t k = 0; k < static_cast<std::size_t>(here); ++k) {
      if (!(u[k] == v[k])) return false;
    }
  }
  return true;
}

// Moves the finite numbers to the front; their count.
std::int64_t keep_finite(const float* x, std::int64_t n, float* out) noexcept {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::isfinite(x[i])) out[kept++] = x[i];
  }
  return kept;
}

void zero_nonfinite(float* x, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) x[i] = 0;
  }
}

// The smallest float that is at least t, and the largest that is at most t: a float is below t, or above it, when it is so of these.
float float_from(double t) noexcept {
  const auto f = static_cast<float>(t);
  return static_cast<double>(f) < t ? std::nextafter(f, std::numeric_limits<float>::infinity()) : f;
}
float float_to(double t) noexcept { return -float_from(-t); }

void add_range(const float* x, std::int64_t n, SeriesPart& part) noexcept {
  constexpr int kLanes = 8;
  float low[kLanes], high[kLanes];
  for (int k = 0; k < kLanes; ++k) low[k] = high[k] = x[0];
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) {
      low[k] = x[i + k] < low[k] ? x[i + k] : low[k];
      high[k] = x[i + k] > high[k] ? x[i + k] : high[k];
    }
  }
  for (; i < n; ++i) {
    low[0] = std::min(low[0], x[i]);
    high[0] = std::max(high[0], x[i]);
  }
  for (int k = 0; k < kLanes; ++k) {
    part.smallest = std::min(part.smallest, static_cast<double>(low[k]));
    part.largest = std::max(part.largest, static_cast<double>(high[k]));
  }
}

class AnalyzeTask final : public TensorTask {
 public:
  // Tensors of one shape; the first is the base's when `has_base`. `models`: which model each of the others is.
  AnalyzeTask(TensorStats& out, std::vector<Source> sources, const std::vector<std::size_t>& models, bool has_base)
      : out_(out), sources_(std::move(sources)), shape_(sources_.front().tensor->info.shape), cuts_(cut_tensor(shape_)) {
    const std::size_t first = has_base ? 1 : 0;
    if (has_base) {
      base_ = 0;
      series_.push_back({0, false, 0});
    }
    for (std::size_t i = first; i < sources_.size(); ++i) series_.push_back({i, false, models[i - first]});
    first_delta_ = series_.size();
    if (has_base) {
      for (std::size_t i = 1; i < sources_.size(); ++i) series_.push_back({i, true, models[i - 1]});
    }
    for (const Source& s : sources_) tile_bytes_ += cuts_.tile_elems * s.elem_bytes();
  }

  const std::string& name() const noexcept override { return out_.info.name; }
  std::int64_t tiles() const noexcept override { return cuts_.tiles; }
  std::int64_t tile_bytes() const noexcept override { return tile_bytes_; }

  // Of a worker and of this task under way, at most.
  std::int64_t memory_bytes() const noexcept {
    const auto series = static_cast<std::int64_t>(series_.size());
    std::int64_t slots = 0;
    for (const Series& s : series_) slots += static_cast<std::int64_t>(s.is_delta ? kDeltaQuantiles.size() : kWeightQuantiles.size());
    return tile_bytes_ + kKeyBuckets * (series * 24 + slots * 12) + cuts_.tiles * series * static_cast<std::int64_t>(sizeof(SeriesPart));
  }

  void open() override {
    parts_.resize(static_cast<std::size_t>(cuts_.tiles));
    for (TilePart& p : parts_) {
      p.series.resize(series_.size());
      p.pairs.resize(pair_count());
    }
    for (const Series& s : series_) {
      if (s.is_delta) {
        distributions_.emplace_back(s.by(), kDeltaQuantiles);
      } else {
        distributions_.emplace_back(s.by(), kWeightQuantiles);
      }
    }
  }

  void see(int pass, std::int64_t tile, Workspace& space) override {
    TilePart& part = parts_[static_cast<std::size_t>(tile)];
    const std::int64_t begin = cuts_.begin(tile), n = cuts_.count(tile);
    space.raw.resize(std::max(space.raw.size(), sources_.size()));
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const Source& s = sources_[i];
      const std::int64_t offset = s.tensor->offset + begin * s.elem_bytes();
      const std::int64_t bytes = n * s.elem_bytes();
      s.checkpoint->read(s.tensor->file, offset, space.raw[i].place(offset, bytes), static_cast<std::size_t>(bytes));
    }
    clear_counts(pass, space);
    space.values.resize(std::max(space.values.size(), series_.size() + 1));
    for (auto& v : space.values) v.resize(kBlock);
    for (std::int64_t i = 0; i < n; i += kBlock) see_block(pass, i, std::min(kBlock, n - i), space, part);
    if (pass == 0 && shape_.size() >= 2) see_rows(n, space, part);
    add_counts(pass, space);
  }

  bool seal(int pass) override {
    if (pass == 0) {
      totals_ = total();
      for (Distribution& d : distributions_) d.seal_coarse();
      if (cuts_.tiles > 0) return true;
    }
    totals_ = total();
    finish();
    parts_ = {};
    distributions_ = {};
    return false;
  }

 private:
  std::size_t pair_count() const noexcept {
    const std::size_t deltas = series_.size() - first_delta_;
    return deltas < 2 ? 0 : pair_index(deltas, 0);
  }
  float* values_of(std::size_t series, Workspace& space) const { return space.values[series].data(); }

  void clear_counts(int pass, Workspace& space) {
    space.counts.resize(std::max(space.counts.size(), series_.size()));
    space.fine_counts.resize(space.counts.size());
    for (std::size_t s = 0; s < series_.size(); ++s) {
      if (pass == 0) {
        space.counts[s].assign(kKeyBuckets, 0);
      } else {
        space.fine_counts[s].assign(distributions_[s].slots() * kKeyBuckets, 0);
      }
    }
  }

  void add_counts(int pass, Workspace& space) {
    const std::lock_guard lock(mutex_);
    for (std::size_t s = 0; s < series_.size(); ++s) {
      if (pass == 0) {
        distributions_[s].add_coarse(space.counts[s].data());
      } else if (distributions_[s].slots() > 0) {
        distributions_[s].add_fine(space.fine_counts[s].data());
      }
    }
  }

  // Fills the values of every series, then measures them.
  void see_block(int pass, std::int64_t at, std::int64_t n, Workspace& space, TilePart& part) {
    for (std::size_t s = 0; s < first_delta_; ++s) {
      const Source& source = sources_[series_[s].source];
      load_floats(source.dtype(), space.raw[series_[s].source].data() + at * source.elem_bytes(), values_of(s, space), n);
    }
    for (std::size_t s = first_delta_; s < series_.size(); ++s) {
      simd::subtract(values_of(series_[s].source, space), values_of(*base_, space), values_of(s, space), n);
    }
    float* spare = space.values.back().data();
    for (std::size_t s = 0; s < series_.size(); ++s) {
      float* x = values_of(s, space);
      const std::int64_t bad = simd::count_nonfinite(x, n);
      const float* finite = x;
      if (bad > 0) {
        keep_finite(x, n, spare);
        finite = spare;
      }
      if (pass == 0) {
        part.series[s].nonfinite += bad;
        add_series(series_[s].by(), finite, n - bad, part.series[s], space.counts[s].data());
      } else {
        add_thresholds(totals_.series[s], finite, n - bad, part.series[s]);
        if (distributions_[s].slots() > 0) {
          distributions_[s].count_fine(finite, n - bad, space.fine_counts[s].data());
        }
      }
      if (bad > 0) zero_nonfinite(x, n);
    }
    if (pass == 0 && first_delta_ < series_.size()) add_pairs(n, space, part);
  }

  static void add_series(SortBy by, const float* x, std::int64_t n, SeriesPart& part, std::uint64_t* packed) {
    if (n == 0) return;
    part.moments.add(moments_of(x, n));
    int zeros = 0;
    for (std::int64_t i = 0; i < n; ++i) zeros += x[i] == 0;
    part.zeros += zeros;
    part.l1 += simd::sum_abs(x, n);
    part.l2 += simd::sum_squares(x, n);
    add_range(x, n, part);
    count_keys(x, n, by, packed);
  }

  static void add_thresholds(const SeriesPart& whole, const float* x, std::int64_t n, SeriesPart& part) {
    const double mean = whole.moments.mean, deviation = whole.moments.deviation();
    const double rms = whole.moments.n > 0 ? std::sqrt(whole.l2 / static_cast<double>(whole.moments.n)) : 0;
    const float low_3 = float_from(mean - 3 * deviation), high_3 = float_to(mean + 3 * deviation);
    const float low_6 = float_from(mean - 6 * deviation), high_6 = float_to(mean + 6 * deviation);
    const float rms_10 = float_from(rms / 10), rms_100 = float_from(rms / 100);
    int beyond_3 = 0, beyond_6 = 0, below_10 = 0, below_100 = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const float v = x[i], size = std::abs(v);
      beyond_3 += (v < low_3) | (v > high_3);
      beyond_6 += (v < low_6) | (v > high_6);
      below_10 += size < rms_10;
      below_100 += size < rms_100;
    }
    part.beyond_3 += beyond_3;
    part.beyond_6 += beyond_6;
    part.below_10 += below_10;
    part.below_100 += below_100;
  }

  void add_pairs(std::int64_t n, Workspace& space, TilePart& part) {
    const float* base = values_of(*base_, space);
    const double base_l2 = simd::sum_squares(base, n);
    std::array<std::uint8_t, kBlock> moved{};
    for (std::size_t s = first_delta_; s < series_.size(); ++s) {
      const float* x = values_of(s, space);
      part.series[s].dot_base += simd::dot(x, base, n);
      part.series[s].base_l2 += base_l2;
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        moved[i] = static_cast<std::uint8_t>(moved[i] | (x[i] > 0 ? 1 : 0) | (x[i] < 0 ? 2 : 0));
      }
      for (std::size_t t = first_delta_; t < s; ++t) {
        const float* y = values_of(t, space);
        PairStats& pair = part.pairs[pair_index(s - first_delta_, t - first_delta_)];
        pair.dot += simd::dot(x, y, n);
        int both = 0, agree = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          both += (x[i] != 0) & (y[i] != 0);
          agree += ((x[i] > 0) & (y[i] > 0)) | ((x[i] < 0) & (y[i] < 0));
        }
        pair.both += both;
        pair.agree += agree;
      }
    }
    int any = 0, conflicts = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      any += moved[i] != 0;
      conflicts += moved[i] == 3;
    }
    part.moved += any;
    part.conflicts += conflicts;
  }

  void see_rows(std::int64_t n, Workspace& space, TilePart& part) {
    const std::int64_t row = std::min(cuts_.row, n);
    for (std::size_t s = 0; s < series_.size(); ++s) {
      const Source& source = sources_[series_[s].source];
      const std::byte* raw = space.raw[series_[s].source].data();
      SeriesPart& p = part.series[s];
      for (std::int64_t at = 0; at + row <= n; at += row) {
        const std::byte* x = raw + at * source.elem_bytes();
        const Source& base = sources_.front();
        const bool still = series_[s].is_delta ? are_equal_values(source, x, base, space.raw.front().data() + at * base.elem_bytes(), row)
                                               : is_still_bytes(x, row, source.elem_bytes());
        p.still = still;
        p.still_rows += still;
      }
    }
  }

  // All tiles together, in their order.
  TilePart total() const {
    TilePart sum;
    sum.series.resize(series_.size());
    sum.pairs.resize(pair_count());
    for (const TilePart& p : parts_) {
      for (std::size_t s = 0; s < series_.size(); ++s) add(sum.series[s], p.series[s]);
      for (std::size_t i = 0; i < sum.pairs.size(); ++i) sum.pairs[i].add(p.pairs[i]);
      sum.conflicts += p.conflicts;
      sum.moved += p.moved;
    }
    if (cuts_.pieces > 1) {
      for (std::size_t s = 0; s < series_.size(); ++s) sum.series[s].still_rows = still_rows_of_pieces(s);
    }
    return sum;
  }

  std::int64_t still_rows_of_pieces(std::size_t s) const {
    std::int64_t rows = 0;
    for (std::int64_t first = 0; first < cuts_.tiles; first += cuts_.pieces) {
      bool still = true;
      for (std::int64_t t = first; t < first + cuts_.pieces; ++t) still = still && parts_[static_cast<std::size_t>(t)].series[s].still;
      rows += still;
    }
    return rows;
  }

  static void add(SeriesPart& sum, const SeriesPart& p) {
    sum.moments.add(p.moments);
    sum.nonfinite += p.nonfinite;
    sum.zeros += p.zeros;
    sum.beyond_3 += p.beyond_3;
    sum.beyond_6 += p.beyond_6;
    sum.below_10 += p.below_10;
    sum.below_100 += p.below_100;
    sum.still_rows += p.still_rows;
    sum.smallest = std::min(sum.smallest, p.smallest);
    sum.largest = std::max(sum.largest, p.largest);
    sum.l1 += p.l1;
    sum.l2 += p.l2;
    sum.dot_base += p.dot_base;
    sum.base_l2 += p.base_l2;
  }

  void fill(std::size_t s, SeriesStats& out) {
    const SeriesPart& p = totals_.series[s];
    out.moments = p.moments;
    out.nonfinite = p.nonfinite;
    out.zeros = p.zeros;
    if (p.moments.n > 0) {
      out.smallest = p.smallest;
      out.largest = p.largest;
    }
    out.l1 = p.l1;
    out.l2 = p.l2;
    out.beyond_3 = p.beyond_3;
    out.beyond_6 = p.beyond_6;
    out.below_10 = p.below_10;
    out.below_100 = p.below_100;
    out.rows = shape_.size() >= 2 && cuts_.elems > 0 ? cuts_.elems / cuts_.row : 0;
    out.still_rows = p.still_rows;
    Distribution& d = distributions_[s];
    if (d.slots() > 0) d.seal_fine();
    out.quantiles = d.quantile_values();
  }

  void finish() {
    for (std::size_t s = 0; s < series_.size(); ++s) {
      const Series& series = series_[s];
      if (series.is_delta) {
        DeltaStats& out = out_.deltas[series.model].emplace();
        fill(s, out);
        out.base_l2 = totals_.series[s].base_l2;
        out.dot_base = totals_.series[s].dot_base;
        const auto held = distributions_[s].held_by_largest(kDensities);
        std::copy(held.begin(), held.end(), out.held.begin());
      } else if (base_ && series.source == *base_) {
        fill(s, out_.base.emplace());
      } else {
        fill(s, out_.models[series.model].emplace());
      }
    }
    for (std::size_t i = first_delta_; i < series_.size(); ++i) {
      for (std::size_t j = first_delta_; j < i; ++j) {
        PairStats pair = totals_.pairs[pair_index(i - first_delta_, j - first_delta_)];
        pair.l2_first = totals_.series[i].l2;
        pair.l2_second = totals_.series[j].l2;
        out_.pairs[pair_index(series_[i].model, series_[j].model)] = pair;
      }
    }
    if (first_delta_ == series_.size()) return;
    out_.conflicts = totals_.conflicts;
    out_.moved = totals_.moved;
  }

  TensorStats& out_;
  std::vector<Source> sources_;
  Shape shape_;
  Cuts cuts_;
  std::optional<std::size_t> base_;  // its series and its source
  std::vector<Series> series_;
  std::size_t first_delta_ = 0;
  std::int64_t tile_bytes_ = 0;
  std::mutex mutex_;  // of the distributions
  std::vector<Distribution> distributions_;
  std::vector<TilePart> parts_;
  TilePart totals_;
};

// --- the whole ------------------------------------------------------------------------------------------------------------------

// Names that one model has and another has not, or with another shape: one notice for each kind.
void tell_misfits(const Checkpoint& base, const Checkpoint& model, const std::string& pattern, Diagnostics& diagnostics) {
  std::vector<std::string> missing, extra, reshaped;
  std::int64_t shared = 0;
  for (const StoredTensor& t : base.tensors()) {
    if (!matches_pattern(pattern, t.info.name)) continue;
    const StoredTensor* other = model.find(t.info.name);
    if (other == nullptr) {
      missing.push_back(printable(t.info.name));
    } else if (other->info.shape != t.info.shape) {
      reshaped.push_back(fmt::format("{} {} against {}", printable(t.info.name), to_string(other->info.shape), to_string(t.info.shape)));
    } else {
      ++shared;
    }
  }
  for (const StoredTensor& t : model.tensors()) {
    if (matches_pattern(pattern, t.info.name) && base.find(t.info.name) == nullptr) extra.push_back(printable(t.info.name));
  }
  const std::string path = printable(model.path(), 400);
  const auto tell = [&](const std::vector<std::string>& names, std::string_view what) {
    if (names.empty()) return;
    diagnostics.notice({}, fmt::format("{}: {} {}: {}", path, render_count(static_cast<std::int64_t>(names.size()), "tensor"), what,
                                       join_names(names, 4)));
  };
  tell(missing, "of the base not there");
  tell(extra, "not in the base");
  tell(reshaped, "of another shape than in the base");
  if (shared == 0) diagnostics.notice({}, fmt::format("{}: no tensor in common with the base, so there is no task vector", path));
}

void add_to_group(const TensorStats& t, GroupStats& group) {
  group.elems += elem_count(t.info.shape);
  group.conflicts += t.conflicts;
  group.moved += t.moved;
  group.deltas.resize(t.deltas.size());
  group.pairs.resize(t.pairs.size());
  for (std::size_t i = 0; i < t.deltas.size(); ++i) {
    if (t.deltas[i]) group.deltas[i].add(*t.deltas[i]);
  }
  for (std::size_t i = 0; i < t.pairs.size(); ++i) {
    if (t.pairs[i]) group.pairs[i].add(*t.pairs[i]);
  }
}

void group_up(Analysis& analysis) {
  std::map<std::string, GroupStats> roles;
  std::map<std::pair<std::string, std::int64_t>, GroupStats> layers;
  analysis.all.name = "all";
  analysis.all.deltas.resize(analysis.models.size());
  for (const TensorStats& t : analysis.tensors) {
    add_to_group(t, analysis.all);
    add_to_group(t, roles[t.role]);
    if (t.layer) add_to_group(t, layers[{t.layer->stack, t.layer->index}]);
  }
  for (const std::string_view role : role_groups()) {
    const auto it = roles.find(std::string(role));
    if (it == roles.end()) continue;
    it->second.name = it->first;
    analysis.roles.push_back(std::move(it->second));
  }
  for (auto& [key, group] : layers) {
    group.name = key.first.empty() ? std::to_string(key.second) : key.first + "." + std::to_string(key.second);
    analysis.layers.push_back(std::move(group));
  }
}

// The matrix of a source, or its difference from the base; empty where a number is not finite.
std::vector<float> read_matrix(const Source& source, const Source* minus) {
  const std::int64_t n = elem_count(source.tensor->info.shape);
  const auto read = [n](const Source& s) {
    std::vector<float> out(static_cast<std::size_t>(n));
    std::vector<std::byte> raw;
    for (std::int64_t i = 0; i < n; i += kStreamTileElems) {
      const std::int64_t here = std::min(kStreamTileElems, n - i);
      raw.resize(static_cast<std::size_t>(here * s.elem_bytes()));
      s.checkpoint->read(s.tensor->file, s.tensor->offset + i * s.elem_bytes(), raw.data(), raw.size());
      load_floats(s.dtype(), raw.data(), out.data() + i, here);
    }
    return out;
  };
  std::vector<float> out = read(source);
  if (minus != nullptr) {
    const std::vector<float> base = read(*minus);
    simd::subtract(out.data(), base.data(), out.data(), n);
  }
  if (simd::count_nonfinite(out.data(), n) > 0) out.clear();
  return out;
}

constexpr std::int64_t kRankBytesPerElem = 16;  // the matrix, its base, its transpose, and some

void find_ranks(Analysis& analysis, const Checkpoint& base, const std::vector<Checkpoint>& models, const StreamOptions& options) {
  std::vector<TensorStats*> matrices;
  std::int64_t worker_bytes = 1;
  for (TensorStats& t : analysis.tensors) {
    const std::int64_t elems = elem_count(t.info.shape);
    if (t.info.shape.size() != 2 || elems == 0 || elems > kMaxRankElems || elems * kRankBytesPerElem > options.memory_bytes) continue;
    matrices.push_back(&t);
    worker_bytes = std::max(worker_bytes, elems * kRankBytesPerElem);
  }
  if (matrices.empty()) return;
  run_parallel(static_cast<std::int64_t>(matrices.size()), affordable_workers(options, worker_bytes), options.stop, [&](std::int64_t i) {
    TensorStats& t = *matrices[static_cast<std::size_t>(i)];
    const std::int64_t columns = t.info.shape[1], rows = t.info.shape[0];
    const auto find = [&](SeriesStats& into, const Source& source, const Source* minus) {
      std::vector<float> w = read_matrix(source, minus);
      if (!w.empty()) into.rank = rank_of(w, rows, columns);
    };
    const Source from_base{&base, base.find(t.info.name)};
    if (t.base) find(*t.base, from_base, nullptr);
    for (std::size_t m = 0; m < models.size(); ++m) {
      if (t.deltas[m]) find(*t.deltas[m], {&models[m], models[m].find(t.info.name)}, &from_base);
    }
  });
}

// The role group of every tensor, from the first checkpoint that has it.
std::map<std::string, std::string> roles_of(const std::vector<const Checkpoint*>& checkpoints) {
  std::map<std::string, std::string> out;
  for (const Checkpoint* c : checkpoints) {
    const std::vector<const TensorInfo*> infos = tensor_infos(c->tensors());
    const std::vector<TensorRole> roles = infer_roles(infos, c->parts());
    for (std::size_t i = 0; i < roles.size(); ++i) out.emplace(infos[i]->name, roles[i].group());
  }
  return out;
}

}  // namespace

double SeriesStats::rms() const noexcept { return moments.n > 0 ? std::sqrt(l2 / static_cast<double>(moments.n)) : 0; }

double DeltaStats::relative() const noexcept { return l2 == 0 ? 0 : std::sqrt(l2 / base_l2); }

void PairStats::add(const PairStats& o) noexcept {
  dot += o.dot;
  l2_first += o.l2_first;
  l2_second += o.l2_second;
  both += o.both;
  agree += o.agree;
}

double PairStats::cosine() const noexcept {
  const double norms = std::sqrt(l2_first) * std::sqrt(l2_second);
  return norms > 0 ? std::clamp(dot / norms, -1.0, 1.0) : kNaN;
}

double PairStats::agreement() const noexcept { return both > 0 ? static_cast<double>(agree) / static_cast<double>(both) : kNaN; }

void DeltaTotals::add(const DeltaStats& d) noexcept {
  ++tensors;
  equal_tensors += d.l2 == 0 && d.nonfinite == 0 && d.zeros == d.moments.n;
  elems += d.moments.n + d.nonfinite;
  zeros += d.zeros;
  nonfinite += d.nonfinite;
  beyond_6 += d.beyond_6;
  below_10 += d.below_10;
  below_100 += d.below_100;
  l1 += d.l1;
  l2 += d.l2;
  base_l2 += d.base_l2;
  dot_base += d.dot_base;
  for (std::size_t i = 0; i < held.size(); ++i) {
    held[i].l1 += d.held[i].l1;
    held[i].l2 += d.held[i].l2;
  }
}

double DeltaTotals::norm() const noexcept { return std::sqrt(l2); }
double DeltaTotals::relative() const noexcept { return l2 == 0 ? 0 : std::sqrt(l2 / base_l2); }
double DeltaTotals::held_energy(std::size_t i) const noexcept { return held.back().l2 > 0 ? held[i].l2 / held.back().l2 : 1; }
double DeltaTotals::held_l1(std::size_t i) const noexcept { return held.back().l1 > 0 ? held[i].l1 / held.back().l1 : 1; }

Analysis analyze_checkpoints(const Checkpoint& base, const std::vector<Checkpoint>& models, const AnalyzeOptions& options,
                             Diagnostics& diagnostics) {
  Analysis analysis;
  analysis.base = base.path();
  std::set<std::string> names, strange;
  std::vector<const Checkpoint*> all = {&base};
  for (const Checkpoint& m : models) {
    analysis.models.push_back(m.path());
    all.push_back(&m);
    tell_misfits(base, m, options.pattern, diagnostics);
  }
  for (const Checkpoint* c : all) {
    for (const StoredTensor& t : c->tensors()) {
      if (matches_pattern(options.pattern, t.info.name)) (facts(t.info.dtype).mergeable ? names : strange).insert(t.info.name);
    }
  }
  analysis.skipped = static_cast<std::int64_t>(strange.size());
  analysis.tensors.resize(names.size());
  std::vector<std::unique_ptr<TensorTask>> tasks;
  std::int64_t worker_bytes = 1;
  const auto source_in = [](const Checkpoint& c, const std::string& name) {
    const StoredTensor* t = c.find(name);
    return Source{&c, t != nullptr && facts(t->info.dtype).mergeable ? t : nullptr};
  };
  const auto add_task = [&](TensorStats& out, std::vector<Source> sources, const std::vector<std::size_t>& of, bool has_base) {
    auto task = std::make_unique<AnalyzeTask>(out, std::move(sources), of, has_base);
    worker_bytes = std::max(worker_bytes, task->memory_bytes());
    tasks.push_back(std::move(task));
  };
  const auto roles = roles_of(all);
  std::size_t at = 0;
  for (const std::string& name : names) {
    TensorStats& t = analysis.tensors[at++];
    t.role = roles.at(name);
    t.layer = parse_layer_name(name);
    t.models.resize(models.size());
    t.deltas.resize(models.size());
    t.pairs.resize(models.size() * (models.size() - (models.empty() ? 0 : 1)) / 2);
    const Source of_base = source_in(base, name);
    std::vector<Source> together;
    std::vector<std::size_t> who;
    if (of_base.tensor != nullptr) {
      t.info = of_base.tensor->info;
      together.push_back(of_base);
    }
    for (std::size_t m = 0; m < models.size(); ++m) {
      const Source s = source_in(models[m], name);
      if (s.tensor == nullptr) continue;
      if (t.info.name.empty()) t.info = s.tensor->info;
      if (of_base.tensor == nullptr || s.tensor->info.shape != t.info.shape) {
        add_task(t, {s}, {m}, false);
      } else {
        together.push_back(s);
        who.push_back(m);
      }
    }
    if (!together.empty()) add_task(t, std::move(together), std::move(who), true);
  }
  if (!tasks.empty()) run_tasks(tasks, affordable_workers(options.stream, worker_bytes), options.stream);
  if (options.rank == RankWish::kYes) find_ranks(analysis, base, models, options.stream);
  for (const Checkpoint* c : all) c->check_unchanged();
  group_up(analysis);
  return analysis;
}

}  // namespace crucible
