#include "simd/blend.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/blend.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/add_to_base-inl.h"

// Plain loops, which the compiler vectorizes for the level of the enclosing region, over blocks whose f64 intermediates stay in the
// first cache level.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = 256;
constexpr int kLanes = 16;
constexpr double kNearest = 1e-6;  // smaller distances count as this one

// For t of at least kNearest no division is needed: the base moves towards x by at most t.
HWY_INLINE float near_one(float base, float x, double t) {
  const double way = wide(x) - wide(base);
  if (std::isnan(way)) return static_cast<float>(way);
  if (std::isinf(way)) return base;
  return std::abs(way) <= t ? x : static_cast<float>(wide(base) + std::copysign(t, way));
}
HWY_INLINE void store_near(const float* base, const float* x, double t, float* out) {
  const DWide d;
  const VWide from = load_wide(base), to = load_wide(x);
  const VWide way = hn::Sub(to, from);
  const VWide size = hn::Abs(way), most = hn::Set(d, t);
  VWide moved = hn::IfThenElse(hn::Gt(size, most), hn::Add(from, hn::CopySign(most, way)), to);
  moved = hn::IfThenElse(hn::Eq(size, hn::Inf(d)), from, moved);
  store_narrow(hn::IfThenElse(hn::IsNaN(way), way, moved), out);
}

void NearSwap(const float* base, const float* x, double t, float* HWY_RESTRICT out, std::int64_t n) {
  if (t >= kNearest) {
    std::int64_t i = 0;
    for (; !kEmulated && i + kWideLanes <= n; i += kWideLanes) store_near(base + i, x + i, t, out + i);
    for (; i < n; ++i) out[i] = near_one(base[i], x[i], t);
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const double a = wide(base[i]);
    const double b = wide(x[i]);
    const double distance = std::abs(b - a);
    const double w = t / (distance > kNearest ? distance : kNearest);  // below 1
    const float moved = static_cast<float>(w * b + (1 - w) * a);
    out[i] = w == 0 && distance == distance ? base[i] : moved;
  }
}

// 1 where a task vector's entry is active, else 0.
HWY_INLINE double activity(double entry, double epsilon) { return std::abs(entry) <= epsilon ? 0.0 : 1.0; }

void MergeActive(const float* base, const float* const* x, std::int64_t models, double epsilon, const double* scales,
                 float* HWY_RESTRICT out, std::int64_t n) {
  double sum[kBlock];
  double active[kBlock];
  double scale[kBlock];  // of the last active model: the one that counts where there is no other
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    for (std::int64_t k = 0; k < m; ++k) sum[k] = active[k] = scale[k] = 0;
    for (std::int64_t j = 0; j < models; ++j) {
      const float* xj = x[j] + at;
      const float* b = base + at;
      const double own = scales[j];
      for (std::int64_t k = 0; k < m; ++k) {
        const double entry = wide(xj[k]) - wide(b[k]);
        const double here = activity(entry, epsilon);
        sum[k] += here == 0 ? 0.0 : entry;
        active[k] += here;
        scale[k] = here == 0 ? scale[k] : own;
      }
    }
    for (std::int64_t k = 0; k < m; ++k) {
      const double mean = sum[k] / (active[k] > 1 ? active[k] : 1.0);
      const double mixed = mean * (active[k] == 1 ? scale[k] : 1.0);
      out[at + k] = moved_base(base[at + k], mixed);
    }
  }
}

void CountActive(const float* base, const float* const* x, std::int64_t models, double epsilon, std::uint64_t* unique,
                 std::uint64_t* shared, std::int64_t n) {
  double active[kBlock];
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    const float* b = base + at;
    for (std::int64_t k = 0; k < m; ++k) active[k] = 0;
    for (std::int64_t j = 0; j < models; ++j) {
      const float* xj = x[j] + at;
      for (std::int64_t k = 0; k < m; ++k) active[k] += activity(wide(xj[k]) - wide(b[k]), epsilon);
    }
    for (std::int64_t j = 0; j < models; ++j) {
      const float* xj = x[j] + at;
      std::uint64_t alone = 0;
      std::uint64_t all = 0;
      for (std::int64_t k = 0; k < m; ++k) {
        const std::uint64_t here = std::abs(wide(xj[k]) - wide(b[k])) <= epsilon ? 0 : 1;
        const std::uint64_t single = active[k] == 1 ? 1 : 0;
        all += here;
        alone += here & single;
      }
      unique[j] += alone;
      shared[j] += all - alone;
    }
  }
}

// Of two models at distance d the formula below gives sqrt(2 d^2 - d^2), which is |d|. What is not finite has no distance.
void SpreadOfTwo(const float* x, const float* y, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float none = (x[i] - x[i]) + (y[i] - y[i]);  // 0, or NaN
    out[i] = std::abs(y[i] - x[i]) + none;
  }
}

void Spread(const float* const* x, std::int64_t models, float* HWY_RESTRICT out, std::int64_t n) {
  if (models == 2) return SpreadOfTwo(x[0], x[1], out, n);
  const hn::ScalableTag<double> d;
  double sum[kBlock] = {};
  double squares[kBlock] = {};
  const auto count = static_cast<double>(models);
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    for (std::int64_t k = 0; k < m; ++k) sum[k] = squares[k] = 0;
    // Distances from the first model: n * sum of squares - square of the sum loses no more than a factor 2n to cancellation then,
    // since one of the distances is 0, and is exactly 0 where all models agree.
    const float* first = x[0] + at;
    for (std::int64_t j = 1; j < models; ++j) {
      const float* xj = x[j] + at;
      for (std::int64_t k = 0; k < m; ++k) {
        const double distance = wide(xj[k]) - wide(first[k]);
        sum[k] += distance;
        squares[k] += distance * distance;
      }
    }
    for (std::int64_t k = 0; k < m; ++k) squares[k] = count * squares[k] - sum[k] * sum[k];
    // The whole block: what lies past its end is not used.
    for (std::int64_t k = 0; k < kBlock; k += static_cast<std::int64_t>(hn::Lanes(d)))
      hn::StoreU(hn::Sqrt(hn::LoadU(d, squares + k)), d, squares + k);
    for (std::int64_t k = 0; k < m; ++k) out[at + k] = static_cast<float>(squares[k]);
  }
}

// Calls use(score), where score(i) is the scaled distance of an element.
template <typename Use>
HWY_INLINE void with_scores(const float* x, const float* y, double factor, const Use& use) {
  if (factor >= 0x1p-100 && factor <= 0x1p+100) {
    const auto narrow = static_cast<float>(factor);
    use([=](std::int64_t i) HWY_ATTR { return narrow * std::abs(x[i] - y[i]); });
  } else {
    use([=](std::int64_t i) HWY_ATTR { return static_cast<float>(factor * std::abs(wide(x[i]) - wide(y[i]))); });
  }
}

void ScaledDistance(const float* x, const float* y, double factor, float* HWY_RESTRICT out, std::int64_t n) {
  with_scores(x, y, factor, [=](const auto& score) HWY_ATTR {
    for (std::int64_t i = 0; i < n; ++i) out[i] = score(i);
  });
}

double LargestDistance(const float* x, const float* y, std::int64_t n) {
  double lanes[kLanes] = {};
  const auto see = [&](std::int64_t i, int k) HWY_ATTR {
    const double distance = std::abs(wide(x[i]) - wide(y[i]));
    lanes[k] = distance > lanes[k] ? distance : lanes[k];
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) see(i + k, k);
  }
  for (int k = 0; i + k < n; ++k) see(i + k, k);
  return *std::max_element(lanes, lanes + kLanes);
}

std::int64_t TakeFar(const float* x, const float* y, double factor, float limit, float* HWY_RESTRICT out, std::int64_t n) {
  std::int64_t taken = 0;
  with_scores(x, y, factor, [&, out, limit](const auto& score) HWY_ATTR {
    for (std::int64_t at = 0; at < n; at += kBlock) {
      const std::int64_t end = std::min(n, at + kBlock);
      std::int32_t left = 0;
      for (std::int64_t i = at; i < end; ++i) {
        const bool below = score(i) < limit;
        out[i] = below ? y[i] : x[i];
        left += below ? 1 : 0;
      }
      taken += end - at - left;
    }
  });
  return taken;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(NearSwap);
HWY_EXPORT(MergeActive);
HWY_EXPORT(CountActive);
HWY_EXPORT(Spread);
HWY_EXPORT(ScaledDistance);
HWY_EXPORT(LargestDistance);
HWY_EXPORT(TakeFar);

void near_swap(const float* base, const float* x, double t, float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(NearSwap)(base, x, t, out, n);
}
void merge_active(const float* base, std::span<const float* const> x, double epsilon, std::span<const double> scales, float* out,
                  std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(MergeActive)(base, x.data(), static_cast<std::int64_t>(x.size()), epsilon, scales.data(), out, n);
}
void count_active(const float* base, std::span<const float* const> x, double epsilon, std::uint64_t* unique, std::uint64_t* shared,
                  std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(CountActive)(base, x.data(), static_cast<std::int64_t>(x.size()), epsilon, unique, shared, n);
}
void spread(std::span<const float* const> x, float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Spread)(x.data(), static_cast<std::int64_t>(x.size()), out, n);
}
void scaled_distance(const float* x, const float* y, double factor, float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(ScaledDistance)(x, y, factor, out, n);
}
double largest_distance(const float* x, const float* y, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(LargestDistance)(x, y, n); }
std::int64_t take_far(const float* x, const float* y, double factor, double limit, float* out, std::int64_t n) noexcept {
  // The first f32 that is not below the limit: scores are f32.
  auto least = static_cast<float>(limit);
  if (static_cast<double>(least) < limit) least = std::nextafter(least, std::numeric_limits<float>::infinity());
  return HWY_DYNAMIC_DISPATCH(TakeFar)(x, y, factor, least, out, n);
}

}  // namespace crucible::simd
#endif
