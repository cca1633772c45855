// Random streams and hashes: known answers, so that a merge made today can be made again.
#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

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
double worst_bit(RandomKey key, std::uint32_t mask) {
  constexpr int kDraws = 20000;
  double worst = 0;
  for (int bit = 0; bit < 32; ++bit) {
    double set = 0;
    for (std::uint64_t i = 0; i < kDraws; ++i) set += ((random_u32(key, i) & mask) >> bit & 1) != 0 ? 1 : 0;
    worst = std::max(worst, std::abs(set - kDraws / 2.0) / std::sqrt(kDraws / 4.0));
  }
  return worst;
}
TEST(Random, BitsAreFair) {
  EXPECT_LT(worst_bit(make_random_key(1, "t", "m"), 0xFFFFFFFFu), 5.5);
  EXPECT_GT(worst_bit(make_random_key(1, "t", "m"), 0xFFFFFFFEu), 5.5) << "a dead bit";
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
