// Conversions between element types: all 65,536 codes of f16 and bf16, and rounding against an f64 reference, at every CPU level.
#include "tensor/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "crucible/tensor.h"
#include "support/cpu_levels.h"
#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

struct Format {
  DType dtype;
  int mantissa;  // bits
  int lowest;    // exponent of the smallest normal
};
constexpr Format kF16{DType::kF16, 10, -14};
constexpr Format kBF16{DType::kBF16, 7, -126};
constexpr std::uint32_t exponent_mask(const Format& f) { return f.dtype == DType::kF16 ? 0x7C00u : 0x7F80u; }
constexpr std::uint16_t canonical_nan(const Format& f) { return f.dtype == DType::kF16 ? 0x7E00u : 0x7FC0u; }

// What a code means, from the definition of the format.
double meaning(const Format& f, std::uint16_t code) {
  const int exponent = static_cast<int>((code & 0x7FFFu) >> f.mantissa);
  const auto fraction = static_cast<double>(code & ((1u << f.mantissa) - 1));
  const double sign = (code & 0x8000u) != 0 ? -1 : 1;
  if ((code & exponent_mask(f)) == exponent_mask(f)) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, f.lowest - f.mantissa);
  return sign * std::ldexp(std::ldexp(1.0, f.mantissa) + fraction, exponent - 1 + f.lowest - f.mantissa);
}

// The nearest code, by search in the ordered codes of one sign; ties to the even one.
std::uint16_t nearest(const Format& f, double x) {
  if (std::isnan(x)) return canonical_nan(f);
  const std::uint16_t sign = std::signbit(x) ? 0x8000u : 0;
  const double size = std::abs(x);
  const std::uint32_t infinite = exponent_mask(f);
  // Where infinity would be if the format went on.
  const double beyond =
      meaning(f, static_cast<std::uint16_t>(infinite - 1)) + std::ldexp(1.0, (f.dtype == DType::kF16 ? 15 : 127) - f.mantissa);
  const auto value = [&](std::uint32_t c) { return c == infinite ? beyond : meaning(f, static_cast<std::uint16_t>(c)); };
  std::uint32_t low = 0, high = infinite;
  if (size >= beyond) return static_cast<std::uint16_t>(infinite | sign);
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (value(middle) <= size ? low : high) = middle;
  }
  const double down = size - value(low), up = value(high) - size;
  const std::uint32_t code = down < up || (down == up && low % 2 == 0) ? low : high;
  return static_cast<std::uint16_t>(code | sign);
}

std::vector<std::uint16_t> store(const Format& f, const std::vector<float>& x, std::int64_t& bad) {
  std::vector<std::uint16_t> codes(x.size());
  bad = store_floats(f.dtype, x.data(), codes.data(), std::ssize(x)).nonfinite;
  return codes;
}

void expect_all_codes(const Format& f) {
  std::vector<std::uint16_t> codes(65536);
  for (std::size_t c = 0; c < codes.size(); ++c) codes[c] = static_cast<std::uint16_t>(c);
  std::vector<float> x(codes.size());
  load_floats(f.dtype, codes.data(), x.data(), 65536);
  std::int64_t bad = 0, nonfinite = 0;
  const auto back = store(f, x, bad);
  for (std::size_t c = 0; c < codes.size(); ++c) {
    const double want = meaning(f, codes[c]);
    nonfinite += std::isfinite(want) ? 0 : 1;
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(x[c])) << c;
      ASSERT_EQ(back[c], canonical_nan(f)) << c;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint64_t>(static_cast<double>(x[c])), std::bit_cast<std::uint64_t>(want)) << c;
      ASSERT_EQ(back[c], codes[c]);
    }
  }
  EXPECT_EQ(bad, nonfinite);
}

TEST(Convert, AllCodesOfF16) {
  at_each_level([] { expect_all_codes(kF16); });
}
TEST(Convert, AllCodesOfBF16) {
  at_each_level([] { expect_all_codes(kBF16); });
}

// Between every two neighbours: the middle, and an f32 step to either side of it and of the ends. Then random bits.
std::vector<float> hard_cases(const Format& f) {
  std::vector<float> x;
  for (std::uint32_t c = 0; c < exponent_mask(f); ++c) {
    const double low = meaning(f, static_cast<std::uint16_t>(c));
    const double high =
        c + 1 == exponent_mask(f) ? 2 * low - meaning(f, static_cast<std::uint16_t>(c - 1)) : meaning(f, static_cast<std::uint16_t>(c + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    for (const float v : {static_cast<float>(low), middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
      x.push_back(v);
      x.push_back(-v);
    }
  }
  for (const float v : {INFINITY, -INFINITY, 3.4028235e38f, -3.4028235e38f, 1e-45f, -1e-45f, 65520.0f, 65519.996f}) x.push_back(v);
  x.push_back(std::bit_cast<float>(0x7F800001u));
  x.push_back(std::bit_cast<float>(0xFFFFFFFFu));
  Rng rng(1);
  for (int i = 0; i < 100000; ++i) x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(rng())));
  return x;
}

void expect_nearest(const Format& f) {
  const auto x = hard_cases(f);
  std::vector<std::uint16_t> want;
  std::int64_t infinite = 0, bad = 0;
  for (const float v : x) {
    want.push_back(nearest(f, static_cast<double>(v)));
    infinite += (want.back() & exponent_mask(f)) == exponent_mask(f) ? 1 : 0;
  }
  at_each_level([&] {
    const auto got = store(f, x, bad);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(got[i], want[i]) << x[i];
    EXPECT_EQ(bad, infinite);
  });
}

TEST(Convert, RoundingToF16) { expect_nearest(kF16); }
TEST(Convert, RoundingToBF16) { expect_nearest(kBF16); }

// What lies at the end of a type is counted apart from what lies beyond it.
TEST(Convert, CountsTheLargestMagnitudes) {
  at_each_level([] {
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
      const auto largest = static_cast<float>(facts(dtype).largest);
      std::vector<float> x(2501, 1.0f);
      x[0] = largest;
      x[7] = -largest;
      x[1500] = INFINITY;
      x[1501] = NAN;
      x[2500] = largest;
      std::vector<std::uint32_t> raw(x.size());
      const Stored stored = store_floats(dtype, x.data(), raw.data(), std::ssize(x));
      EXPECT_EQ(stored.saturated, 3) << facts(dtype).name;
      EXPECT_EQ(stored.nonfinite, 2) << facts(dtype).name;
      x.assign(100, largest / 2);
      EXPECT_EQ(store_floats(dtype, x.data(), raw.data(), 100).saturated, 0) << facts(dtype).name;
    }
  });
}

TEST(Convert, F32AndF64) {
  Rng rng(2);
  std::vector<float> x;
  for (int i = 0; i < 10000; ++i) x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(rng())));
  x.insert(x.end(), {0.0f, -0.0f, INFINITY, -INFINITY, 1e-45f});
  std::int64_t nonfinite = 0;
  for (const float v : x) nonfinite += std::isfinite(v) ? 0 : 1;
  at_each_level([&] {
    std::vector<float> f32(x.size());
    std::vector<double> f64(x.size());
    EXPECT_EQ(store_floats(DType::kF32, x.data(), f32.data(), std::ssize(x)).nonfinite, nonfinite);
    EXPECT_EQ(store_floats(DType::kF64, x.data(), f64.data(), std::ssize(x)).nonfinite, nonfinite);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const bool nan = std::isnan(x[i]);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(f32[i]), nan ? 0x7FC00000u : std::bit_cast<std::uint32_t>(x[i]));
      ASSERT_EQ(std::bit_cast<std::uint64_t>(f64[i]), nan ? 0x7FF8000000000000u : std::bit_cast<std::uint64_t>(static_cast<double>(x[i])));
    }
    // Loading f64 rounds to nearest even: ties, overflow and f32 subnormals.
    const std::vector<double> wide = {1 + 0x1p-24, 1 + 0x3p-24, 1 + 0x1p-24 + 0x1p-50, 1e300, -3.4028235677973366e38, 0x1p-149, 0x1p-150,
                                      0x1.8p-150,  -0.0};
    std::vector<float> narrow(wide.size());
    load_floats(DType::kF64, wide.data(), narrow.data(), std::ssize(wide));
    const std::vector<float> want = {1.0f, 1 + 0x1p-22f, 1 + 0x1p-23f, INFINITY, -INFINITY, 0x1p-149f, 0.0f, 0x1p-149f, -0.0f};
    EXPECT_EQ(bits_of(narrow), bits_of(want));
  });
}

// One number at the end of what bf16 holds is seen among small ones, wherever it stands.
TEST(Convert, TheEndOfBF16IsSeenAlone) {
  at_each_level([] {
    for (std::size_t at = 0; at < 40; ++at) {
      const auto stored = [at](std::uint32_t bits) {
        std::vector<float> x(40, 0.5f);
        x[at] = std::bit_cast<float>(bits);
        std::vector<std::uint16_t> codes(x.size());
        const Stored result = store_floats(DType::kBF16, x.data(), codes.data(), std::ssize(x));
        return std::pair(result.saturated, result.nonfinite);
      };
      using Counts = std::pair<std::int64_t, std::int64_t>;
      for (const std::uint32_t sign : {0u, 0x80000000u}) {
        EXPECT_EQ(stored(sign | 0x7F7E8000u), Counts(0, 0)) << "the middle goes to the even one, below the largest";
        EXPECT_EQ(stored(sign | 0x7F7E8001u), Counts(1, 0));
        EXPECT_EQ(stored(sign | 0x7F7F7FFFu), Counts(1, 0));
        EXPECT_EQ(stored(sign | 0x7F7F8000u), Counts(0, 1)) << "the middle between the largest and infinity";
        EXPECT_EQ(stored(sign | 0x7F800001u), Counts(0, 1)) << "NaN";
        EXPECT_EQ(stored(sign | 0x7FFFFFFFu), Counts(0, 1)) << "a NaN that rounding would turn into a zero";
      }
    }
  });
}

// A task vector is what a conversion and a subtraction give, for every type, at every length and place.
TEST(Convert, LessTheBase) {
  at_each_level([] {
    Rng rng(5);
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
      for (const std::int64_t n : {0, 1, 7, 8, 31, 64, 1000}) {
        std::vector<float> base = make_values(Values::kNormal, n, rng), x = make_values(Values::kNormal, n, rng);
        if (n > 7) x[3] = INFINITY, base[4] = INFINITY, x[5] = base[5] = -INFINITY, x[6] = NAN, x[7] = -0.0f, base[7] = 0.0f;
        std::vector<std::byte> raw(static_cast<std::size_t>(n) * 8 + 1);
        store_floats(dtype, x.data(), raw.data() + 1, n);
        std::vector<float> values(x.size()), got(x.size());
        load_floats(dtype, raw.data() + 1, values.data(), n);
        load_floats(dtype, raw.data() + 1, got.data(), n, base.data());
        for (std::size_t i = 0; i < x.size(); ++i) {
          const float want = values[i] - base[i];
          ASSERT_TRUE(std::isnan(want) ? std::isnan(got[i]) : bits_of({got[i]}) == bits_of({want})) << facts(dtype).name << n << ", " << i;
        }
      }
    }
  });
}

// Files place tensors at any byte.
TEST(Convert, AddressesNeedNoAlignment) {
  std::vector<float> x = {1.0f, -2.0f, 0.5f, 65504.0f, 3e-8f};
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
    std::vector<std::byte> raw(64);
    store_floats(dtype, x.data(), raw.data() + 1, 5);
    std::vector<float> back(5), again(5);
    load_floats(dtype, raw.data() + 1, back.data(), 5);
    std::vector<double> aligned(5);
    std::memcpy(aligned.data(), raw.data() + 1, 40);
    load_floats(dtype, aligned.data(), again.data(), 5);
    EXPECT_EQ(back, again);
    EXPECT_EQ(back[1], -2.0f);
  }
}

TEST(DTypes, RowsAreInOrderAndFoundByName) {
  for (std::size_t i = 0; i < all_dtypes().size(); ++i) {
    const DTypeFacts& f = all_dtypes()[i];
    EXPECT_EQ(static_cast<std::size_t>(f.id), i) << f.name;
    EXPECT_EQ(find_dtype(f.name), f.id);
    EXPECT_EQ(find_torch_dtype(f.torch_name), f.id);
    EXPECT_EQ(find_torch_dtype("torch." + std::string(f.torch_name)), f.id);
    EXPECT_EQ(f.mergeable, f.largest > 0);
  }
  EXPECT_FALSE(find_dtype("bf16"));
  EXPECT_FALSE(find_torch_dtype("torch.torch.float32"));
  EXPECT_EQ(facts(DType::kF16).largest, meaning(kF16, 0x7BFF));
  EXPECT_EQ(facts(DType::kBF16).largest, meaning(kBF16, 0x7F7F));
}

TEST(Shapes, CountsAreChecked) {
  EXPECT_EQ(elem_count({}), 1);
  EXPECT_EQ(elem_count({3, 0, 5}), 0);
  EXPECT_EQ(checked_elem_count({std::int64_t{1} << 40, std::int64_t{1} << 40}), std::nullopt);
  EXPECT_EQ(checked_elem_count({-1}), std::nullopt);
  EXPECT_EQ(checked_byte_count(DType::kBF16, {3, 5}), 30);
  EXPECT_EQ(checked_byte_count(DType::kF4, {3}), std::nullopt) << "half a byte is left";
  EXPECT_EQ(checked_byte_count(DType::kF4, {4}), 2);
  EXPECT_EQ(checked_byte_count(DType::kF64, {std::int64_t{1} << 60}), std::nullopt);
  EXPECT_EQ(row_length({}), 1);
  EXPECT_EQ(row_length({2, 3, 5}), 5);
  EXPECT_EQ(to_string(Shape{2, 3}), "[2, 3]");
}

}  // namespace
}  // namespace crucible::test
