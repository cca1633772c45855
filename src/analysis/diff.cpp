#include "analysis/diff.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "simd/blend.h"
#include "simd/ops.h"
#include "tensor/convert.h"

namespace crucible {
namespace {

constexpr std::int64_t kBlock = 4096;  // elements whose numbers stay in the first cache level

// Sums of one tile.
struct Part {
  std::int64_t differing = 0;
  std::int64_t unequal_values = 0;
  std::int64_t nonfinite_a = 0, nonfinite_b = 0;
  double aa = 0, bb = 0, dd = 0, ab = 0;
  double largest = 0;
  std::int64_t largest_at = -1;
  double largest_a = 0, largest_b = 0;
  bool same_bytes = false;  // and nothing was summed yet

  void add(const Part& p) {
    differing += p.differing;
    unequal_values += p.unequal_values;
    nonfinite_a += p.nonfinite_a;
    nonfinite_b += p.nonfinite_b;
    aa += p.aa;
    bb += p.bb;
    dd += p.dd;
    ab += p.ab;
    if (p.largest > largest) {
      largest = p.largest;
      largest_at = p.largest_at;
      largest_a = p.largest_a;
      largest_b = p.largest_b;
    }
  }
};

// Every product and sum in f64, in fixed lanes.
struct PairSums {
  double aa = 0, bb = 0, dd = 0, ab = 0, largest = 0;
};

PairSums sum_pairs(const float* a, const float* b, std::int64_t n) {
  return {simd::sum_squares(a, n), simd::sum_squares(b, n), simd::sum_square_difference(a, b, n), simd::dot(a, b, n),
          simd::largest_distance(a, b, n)};
}

PairSums sum_pairs(const double* a, const double* b, std::int64_t n) {
  PairSums s;
  for (std::int64_t i = 0; i < n; ++i) {
    const double d = a[i] - b[i];
    s.aa += a[i] * a[i];
    s.bb += b[i] * b[i];
    s.dd += d * d;
    s.ab += a[i] * b[i];
    s.largest = std::max(s.largest, std::abs(d));
  }
  return s;
}

bool all_finite(const float* x, std::int64_t n) { return simd::count_nonfinite(x, n) == 0; }
bool all_finite(const double* x, std::int64_t n) {
  return std::all_of(x, x + n, [](double v) { return std::isfinite(v); });
}

// Adds one block. `places`: element index of each, or null where they are first + i.
template <class T>
void add_block(const T* a, const T* b, std::int64_t n, std::int64_t first, const std::int64_t* places, Part& part) {
  const PairSums s = sum_pairs(a, b, n);
  part.aa += s.aa;
  part.bb += s.bb;
  part.dd += s.dd;
  part.ab += s.ab;
  if (!(s.largest > part.largest)) return;
  part.largest = s.largest;
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])) != s.largest) continue;
    part.largest_at = places != nullptr ? places[i] : first + i;
    part.largest_a = static_cast<double>(a[i]);
    part.largest_b = static_cast<double>(b[i]);
    return;
  }
}

template <class T>
void compare_block(const T* a, const T* b, std::int64_t n, std::int64_t first, Part& part) {
  int unequal = 0;
  for (std::int64_t i = 0; i < n; ++i) unequal += a[i] != b[i];
  if (all_finite(a, n) && all_finite(b, n)) {
    part.unequal_values += unequal;
    return add_block(a, b, n, first, nullptr, part);
  }
  std::array<T, kBlock> finite_a, finite_b;
  std::array<std::int64_t, kBlock> places;
  std::size_t finite = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    part.nonfinite_a += !std::isfinite(a[i]);
    part.nonfinite_b += !std::isfinite(b[i]);
    unequal -= std::isnan(a[i]) && std::isnan(b[i]);
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) continue;
    finite_a[finite] = a[i];
    finite_b[finite] = b[i];
    places[finite++] = first + i;
  }
  part.unequal_values += unequal;
  add_block(finite_a.data(), finite_b.data(), static_cast<std::int64_t>(finite), first, places.data(), part);
}

template <class Word>
std::int64_t count_differing_words(const std::byte* a, const std::byte* b, std::int64_t n) {
  std::int64_t count = 0;
  constexpr std::int64_t kAtOnce = 4096;
  std::array<Word, kAtOnce> x, y;
  for (std::int64_t i = 0; i < n; i += kAtOnce) {
    const std::int64_t here = std::min(kAtOnce, n - i);
    const auto bytes = static_cast<std::size_t>(here) * sizeof(Word);
    std::memcpy(x.data(), a + i * static_cast<std::int64_t>(sizeof(Word)), bytes);
    std::memcpy(y.data(), b + i * static_cast<std::int64_t>(sizeof(Word)), bytes);
    int block = 0;
    for (std::size_t k = 0; k < static_cast<std::size_t>(here); ++k) block += x[k] != y[k];
    count += block;
  }
  return count;
}

std::int64_t count_differing(const std::byte* a, const std::byte* b, std::int64_t bytes, int bits) {
  switch (bits) {
    case 16: return count_differing_words<std::uint16_t>(a, b, bytes / 2);
    case 32: return count_differing_words<std::uint32_t>(a, b, bytes / 4);
    case 64: return count_differing_words<std::uint64_t>(a, b, bytes / 8);
    default: return count_differing_words<std::uint8_t>(a, b, bytes);
  }
}

void load_doubles(DType dtype, const std::byte* in, double* out, std::int64_t n, float* room) {
  if (dtype == DType::kF64) {
    std::memcpy(out, in, static_cast<std::size_t>(n) * sizeof(double));
    return;
  }
  load_floats(dtype, in, room, n);
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<double>(room[i]);
}

class DiffTask final : public TensorTask {
 public:
  DiffTask(const Checkpoint& a, const Checkpoint& b, const StoredTensor& ta, const StoredTensor& tb, TensorDiff& out)
      : a_(a), b_(b), ta_(ta), tb_(tb), out_(out), same_type_(ta.info.dtype == tb.info.dtype) {
    numbers_ = facts(ta.info.dtype).mergeable && facts(tb.info.dtype).mergeable;
    const int bits = facts(ta.info.dtype).bits;
    // Codes narrower than a byte are compared as bytes.
    cuts_ = bits % 8 == 0 ? cut_tensor(ta.info.shape) : cut_tensor({ta.bytes});
    size_a_ = bits % 8 == 0 ? bits / 8 : 1;
    size_b_ = same_type_ ? size_a_ : facts(tb.info.dtype).bits / 8;
  }

  const std::string& name() const noexcept override { return out_.name; }
  std::int64_t tiles() const noexcept override { return cuts_.tiles; }
  std::int64_t tile_bytes() const noexcept override { return cuts_.tile_elems * (size_a_ + size_b_); }
  void open() override { parts_.resize(static_cast<std::size_t>(cuts_.tiles)); }

  // Pass 0 sums the tiles that differ; pass 1 those that do not, wanted only for the norms of a tensor that does.
  void see(int pass, std::int64_t tile, Workspace& space) override {
    Part& part = parts_[static_cast<std::size_t>(tile)];
    const std::int64_t begin = cuts_.begin(tile), n = cuts_.count(tile);
    if (pass == 1 && !part.same_bytes) return;
    space.raw.resize(2);
    const std::byte* a = read(a_, ta_, begin * size_a_, n * size_a_, space.raw[0]);
    const std::byte* b = pass == 1 ? a : read(b_, tb_, begin * size_b_, n * size_b_, space.raw[1]);
    if (pass == 0 && same_type_) {
      part.same_bytes = std::memcmp(a, b, static_cast<std::size_t>(n * size_a_)) == 0;
      if (part.same_bytes) return;
      part.differing = count_differing(a, b, n * size_a_, static_cast<int>(8 * size_a_));
    }
    part.same_bytes = false;
    if (numbers_) sum(a, b, begin, n, part);
  }

  bool seal(int pass) override {
    const auto is_same = [](const Part& p) { return p.same_bytes; };
    const bool all_same = std::all_of(parts_.begin(), parts_.end(), is_same);
    if (pass == 0 && numbers_ && !all_same && std::any_of(parts_.begin(), parts_.end(), is_same)) return true;
    Part total;
    for (const Part& p : parts_) total.add(p);
    parts_ = {};
    finish(total, all_same);
    return false;
  }

 private:
  static const std::byte* read(const Checkpoint& from, const StoredTensor& t, std::int64_t offset, std::int64_t bytes, PageBuffer& raw) {
    from.read(t.file, t.offset + offset, raw.place(t.offset + offset, bytes), static_cast<std::size_t>(bytes));
    return raw.data();
  }

  void sum(const std::byte* a, const std::byte* b, std::int64_t begin, std::int64_t n, Part& part) const {
    const bool wide = ta_.info.dtype == DType::kF64 || tb_.info.dtype == DType::kF64;
    std::array<float, kBlock> fa, fb;
    std::array<double, kBlock> da, db;
    for (std::int64_t i = 0; i < n; i += kBlock) {
      const std::int64_t here = std::min(kBlock, n - i);
      if (wide) {
        load_doubles(ta_.info.dtype, a + i * size_a_, da.data(), here, fa.data());
        load_doubles(tb_.info.dtype, b + i * size_b_, db.data(), here, fb.data());
        compare_block(da.data(), db.data(), here, begin + i, part);
      } else {
        load_floats(ta_.info.dtype, a + i * size_a_, fa.data(), here);
        load_floats(tb_.info.dtype, b + i * size_b_, fb.data(), here);
        compare_block(fa.data(), fb.data(), here, begin + i, part);
      }
    }
  }

  void finish(const Part& total, bool all_same) {
    out_.elems = cuts_.elems;
    out_.status = !same_type_ ? DiffStatus::kRetyped : all_same ? DiffStatus::kIdentical : DiffStatus::kChanged;
    out_.differing = same_type_ ? total.differing : total.unequal_values;
    out_.equal_values = (same_type_ && all_same) || (numbers_ && total.unequal_values == 0);
    out_.has_values = numbers_;
    if (!numbers_ || out_.status == DiffStatus::kIdentical) return;
    out_.nonfinite_a = total.nonfinite_a;
    out_.nonfinite_b = total.nonfinite_b;
    out_.norm_a = std::sqrt(total.aa);
    out_.norm_b = std::sqrt(total.bb);
    out_.norm_difference = std::sqrt(total.dd);
    out_.relative = total.dd == 0 ? 0 : out_.norm_difference / out_.norm_a;
    const double both = out_.norm_a * out_.norm_b;
    out_.cosine = both > 0 ? std::clamp(total.ab / both, -1.0, 1.0) : std::numeric_limits<double>::quiet_NaN();
    out_.largest = total.largest;
    out_.largest_at = total.largest_at;
    out_.largest_a = total.largest_a;
    out_.largest_b = total.largest_b;
  }

  const Checkpoint& a_;
  const Checkpoint& b_;
  const StoredTensor& ta_;
  const StoredTensor& tb_;
  TensorDiff& out_;
  bool same_type_;
  bool numbers_ = false;
  Cuts cuts_;
  std::int64_t size_a_ = 1, size_b_ = 1;
  std::vector<Part> parts_;
};

// Every name of both, with what the headers tell.
std::vector<TensorDiff> pair_up(const Checkpoint& a, const Checkpoint& b, const std::string& pattern) {
  std::vector<TensorDiff> all;
  for (const StoredTensor& t : a.tensors()) {
    if (!matches_pattern(pattern, t.info.name)) continue;
    TensorDiff& d = all.emplace_back();
    d.name = t.info.name;
    d.a = t.info;
    const StoredTensor* other = b.find(t.info.name);
    d.status = DiffStatus::kRemoved;
    if (other == nullptr) continue;
    d.b = other->info;
    d.status = other->info.shape != t.info.shape   ? DiffStatus::kReshaped
               : other->info.dtype != t.info.dtype ? DiffStatus::kRetyped
                                                   : DiffStatus::kIdentical;
  }
  for (const StoredTensor& t : b.tensors()) {
    if (!matches_pattern(pattern, t.info.name) || a.find(t.info.name) != nullptr) continue;
    TensorDiff& d = all.emplace_back();
    d.name = t.info.name;
    d.b = t.info;
    d.status = DiffStatus::kAdded;
  }
  std::sort(all.begin(), all.end(), [](const TensorDiff& x, const TensorDiff& y) { return x.name < y.name; });
  return all;
}

using Json = nlohmann::json;

void diff_json(const std::string& key, const Json* a, const Json* b, std::vector<ConfigDifference>& out) {
  const auto text = [](const Json* j) { return j == nullptr ? std::string() : j->dump(-1, ' ', false, Json::error_handler_t::replace); };
  if (a != nullptr && b != nullptr && a->is_object() && b->is_object()) {
    const auto child = [](const Json& object, const std::string& name) {
      const auto it = object.find(name);
      return it == object.end() ? nullptr : &*it;
    };
    const std::string prefix = key.empty() ? key : key + ".";
    for (const auto& [name, value] : a->items()) diff_json(prefix + name, &value, child(*b, name), out);
    for (const auto& [name, value] : b->items()) {
      if (!a->contains(name)) diff_json(prefix + name, nullptr, &value, out);
    }
    return;
  }
  if (a != nullptr && b != nullptr && *a == *b) return;
  out.push_back({key, text(a), text(b)});
}

}  // namespace

std::string_view to_string(DiffStatus status) noexcept {
  switch (status) {
    case DiffStatus::kIdentical: return "identical";
    case DiffStatus::kChanged: return "changed";
    case DiffStatus::kRetyped: return "retyped";
    case DiffStatus::kReshaped: return "reshaped";
    case DiffStatus::kRemoved: return "removed";
    case DiffStatus::kAdded: return "added";
  }
  return "";
}

std::int64_t CheckpointDiff::count(DiffStatus status) const noexcept {
  return std::count_if(tensors.begin(), tensors.end(), [status](const TensorDiff& d) { return d.status == status; });
}

bool CheckpointDiff::equal(std::optional<double> tolerance) const noexcept {
  return std::all_of(tensors.begin(), tensors.end(), [&](const TensorDiff& d) {
    if (d.status == DiffStatus::kIdentical) return true;
    if (!tolerance || (d.status != DiffStatus::kChanged && d.status != DiffStatus::kRetyped)) return false;
    return d.equal_values || (d.has_values && d.nonfinite_a == d.nonfinite_b && d.relative <= *tolerance);
  });
}

CheckpointDiff diff_checkpoints(const Checkpoint& a, const Checkpoint& b, const DiffOptions& options) {
  CheckpointDiff diff{pair_up(a, b, options.pattern)};
  std::vector<std::unique_ptr<TensorTask>> tasks;
  std::int64_t worker_bytes = 0;
  for (TensorDiff& d : diff.tensors) {
    if (d.status != DiffStatus::kIdentical && d.status != DiffStatus::kRetyped) continue;
    if (d.status == DiffStatus::kRetyped && !(facts(d.a->dtype).mergeable && facts(d.b->dtype).mergeable)) continue;
    auto task = std::make_unique<DiffTask>(a, b, *a.find(d.name), *b.find(d.name), d);
    worker_bytes = std::max(worker_bytes, task->tile_bytes() + task->tiles() * static_cast<std::int64_t>(sizeof(Part)));
    tasks.push_back(std::move(task));
  }
  if (!tasks.empty()) run_tasks(tasks, affordable_workers(options.stream, worker_bytes), options.stream);
  a.check_unchanged();
  b.check_unchanged();
  return diff;
}

std::string render_index(std::int64_t element, const Shape& shape) {
  std::string out;
  for (std::size_t i = shape.size(); i-- > 0;) {
    out = fmt::format("{}{}{}", element % shape[i], out.empty() ? "" : ", ", out);
    element /= shape[i];
  }
  return "[" + out + "]";
}

std::vector<ConfigDifference> diff_configs(const std::string& a, const std::string& b) {
  std::vector<ConfigDifference> out;
  const auto parse = [](const std::string& text) { return text.empty() ? Json::object() : Json::parse(text, nullptr, false); };
  const Json ja = parse(a), jb = parse(b);
  if (!ja.is_object() || !jb.is_object()) {
    // Python's NaN and Infinity are no JSON; such a file is compared as text.
    if (a != b) out.push_back({"", fmt::format("{} bytes of text", a.size()), fmt::format("{} other bytes", b.size())});
    return out;
  }
  diff_json("", &ja, &jb, out);
  std::sort(out.begin(), out.end(), [](const auto& x, const auto& y) { return x.key < y.key; });
  return out;
}

}  // namespace crucible
