// Random streams and hashes: known answers, so that a merge made today can be made again.
#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "base/hash.h"

namespace crucible {
namespace {

// Known answers of Philox4x32-10 from the authors of the generator (Random123, kat_vectors): counter and key zero.
TEST(Random, IsPhilox) {
  const RandomKey zero{{0, 0}};
  EXPECT_EQ(random_u32(zero, 0), 0x6627e8d5u);
  EXPECT_EQ(random_u32(zero, 1), 0xe169c58du);
  EXPECT_EQ(random_u32(zero, 2), 0xbc57ac4cu);
  EXPECT_EQ(random_u32(zero, 3), 0x9b00dbd8u);
}

TEST(Random, IndexReachesPast32Bits) {
  const RandomKey key{{1, 2}};
  EXPECT_NE(random_u32(key, 5), random_u32(key, 5 + (std::uint64_t{1} << 32)));
  EXPECT_NE(random_u32(key, 5), random_u32(key, 5 + (std::uint64_t{1} << 34)));
  EXPECT_NE(random_u32(key, 5), random_u32(key, 5 + (std::uint64_t{1} << 40)));
}

TEST(Random, KeysDifferByEveryPart) {
  std::set<std::pair<std::uint32_t, std::uint32_t>> keys;
  const auto add = [&keys](RandomKey k) { keys.emplace(k.words[0], k.words[1]); };
  add(make_random_key(1, "ab", "c"));
  add(make_random_key(1, "a", "bc"));
  add(make_random_key(1, "c", "ab"));
  add(make_random_key(1, "abc", ""));
  add(make_random_key(1, "", "abc"));
  add(make_random_key(2, "ab", "c"));
  add(make_random_key(std::uint64_t{1} << 32, "ab", "c"));
  EXPECT_EQ(keys.size(), 7u);
  const RandomKey again = make_random_key(1, "ab", "c");
  EXPECT_TRUE(keys.contains({again.words[0], again.words[1]}));
}

// Each bit of a stream is set half of the time: 32 bits at |z| < 5.5 fail by chance with probability 1.2e-6.
double worst_bit(std::uint32_t (*draw)(RandomKey, std::uint64_t), RandomKey key, std::uint32_t mask) {
  constexpr int kDraws = 20000;
  double worst = 0;
  for (int bit = 0; bit < 32; ++bit) {
    double set = 0;
    for (std::uint64_t i = 0; i < kDraws; ++i) set += ((draw(key, i) & mask) >> bit & 1) != 0 ? 1 : 0;
    worst = std::max(worst, std::abs(set - kDraws / 2.0) / std::sqrt(kDraws / 4.0));
  }
  return worst;
}
TEST(Random, BitsAreFair) {
  for (const auto draw : {random_u32, random_draw}) {
    EXPECT_LT(worst_bit(draw, make_random_key(1, "t", "m"), 0xFFFFFFFFu), 5.5);
    EXPECT_GT(worst_bit(draw, make_random_key(1, "t", "m"), 0xFFFFFFFEu), 5.5) << "a dead bit";
  }
}

// Halves of the words of Philox4x32-10, counter and key zero (first words as above), and counter {0, 0, 1, 0}.
TEST(Random, DrawsAreHalvesOfTwoStreams) {
  const RandomKey zero{{0, 0}};
  EXPECT_EQ(random_draw(zero, 0) >> 16, 0xe8d5u);
  EXPECT_EQ(random_draw(zero, 1) >> 16, 0x6627u);
  EXPECT_EQ(random_draw(zero, 2) >> 16, 0xc58du);
  EXPECT_EQ(random_draw(zero, 7) >> 16, 0x9b00u);
  const RandomKey key = make_random_key(1, "t", "m");
  std::set<std::uint32_t> draws;
  int equal_halves = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint32_t draw = random_draw(key, i);
    draws.insert(draw);
    equal_halves += draw >> 16 == (draw & 0xFFFF) ? 1 : 0;
  }
  EXPECT_GT(draws.size(), 995u);
  EXPECT_LT(equal_halves, 5);
}

TEST(Random, ADrawIsHeldAgainstItsThresholdByAll32Bits) {
  const RandomKey key = make_random_key(3, "t", "m");
  constexpr std::uint64_t kFirst = 1000;
  for (std::int64_t i = 0; i < 100; ++i) {
    const std::uint64_t draw = random_draw(key, kFirst + static_cast<std::uint64_t>(i));
    std::vector<std::uint16_t> upper(static_cast<std::size_t>(i) + 1);
    upper.back() = static_cast<std::uint16_t>(draw >> 16);
    const RandomDraws draws{upper.data(), key, kFirst};
    EXPECT_FALSE(draws.below(i, draw));
    EXPECT_TRUE(draws.below(i, draw + 1));
    EXPECT_FALSE(draws.below(i, 0));
    EXPECT_TRUE(draws.below(i, std::uint64_t{1} << 32));
  }
}

TEST(Hash, KnownAnswers) {
  // XXH3 of nothing, from its specification.
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2u);
  EXPECT_EQ(hash128_hex(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(hash64("a", 1), hash64("a", 2));
}

TEST(Hash, StreamsEqualTheWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 7);
  StreamHash stream;
  for (std::size_t at = 0, piece = 1; at < text.size(); at += piece, piece = piece * 3 % 701 + 1) {
    stream.update(text.data() + at, std::min(piece, text.size() - at));
  }
  EXPECT_EQ(stream.hex(), hash128_hex(text));
  StreamHash moved = std::move(stream);
  moved.update("x", 1);
  EXPECT_EQ(moved.hex(), hash128_hex(text + "x"));
  EXPECT_NE(moved.hex(), hash128_hex(text));
}

}  // namespace
}  // namespace crucible
