// Hashes of tensors do not depend on the order in which their chunks come, and on every bit of them.
#include <algorithm>
#include <filesystem>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "run/content_hash.h"
#include "run/tensor_hash.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

// Two jobs: a merge in chunks of 4 halves, and a copy of more than one chunk.
Plan two_jobs() {
  Plan plan;
  Job merge;
  merge.info = {"merge", DType::kF16, {2, 5}};
  merge.offset = 64;
  merge.bytes = 20;
  merge.tiling.tile_elems = 4;
  Job copy;
  copy.kind = Job::Kind::kCopy;
  copy.info = {"copy", DType::kI8, {kCopyChunk + 3}};
  copy.offset = 84;
  copy.bytes = kCopyChunk + 3;
  plan.jobs = {merge, copy};
  return plan;
}

std::vector<std::string> hashes(const Plan& plan, const std::string& data, std::vector<std::size_t> order) {
  struct Chunk {
    const Job* job;
    std::int64_t at, size;
  };
  std::vector<Chunk> chunks;
  for (const Job& job : plan.jobs) {
    const std::int64_t step = hash_chunk_bytes(job);
    for (std::int64_t at = 0; at < job.bytes; at += step) chunks.push_back({&job, job.offset + at, std::min(step, job.bytes - at)});
  }
  EXPECT_EQ(chunks.size(), 5u);
  TensorHashes all(plan);
  for (const std::size_t i : order)
    all.add(*chunks[i].job, chunks[i].at, data.data() + chunks[i].at, static_cast<std::size_t>(chunks[i].size));
  return all.finish();
}

TEST(TensorHash, OrderOfChunksDoesNotMatter) {
  const Plan plan = two_jobs();
  std::string data(84 + kCopyChunk + 3, '\0');
  std::mt19937 rng(1);
  for (char& c : data) c = static_cast<char>(rng());
  const auto expected = hashes(plan, data, {0, 1, 2, 3, 4});
  EXPECT_EQ(hashes(plan, data, {4, 2, 0, 3, 1}), expected);
  EXPECT_NE(expected[0], expected[1]);

  for (const std::size_t byte : {std::size_t{64}, std::size_t{83}, std::size_t{84}, data.size() - 1}) {
    data[byte] ^= 1;
    const auto changed = hashes(plan, data, {0, 1, 2, 3, 4});
    EXPECT_NE(changed[byte < 84 ? 0 : 1], expected[byte < 84 ? 0 : 1]) << byte;
    EXPECT_EQ(changed[byte < 84 ? 1 : 0], expected[byte < 84 ? 1 : 0]) << byte;
    data[byte] ^= 1;
  }
  std::swap_ranges(data.begin() + 64, data.begin() + 72, data.begin() + 72);
  EXPECT_NE(hashes(plan, data, {0, 1, 2, 3, 4})[0], expected[0]) << "two tiles exchanged";
}

TEST(TensorHash, IsXxh3OverTheHashesOfChunks) {
  const std::vector<Hash128> chunks = {hash128("abc", 3), hash128("", 0)};
  std::string bytes;
  for (const Hash128& h : chunks) {
    for (const std::uint64_t half : {h.high, h.low}) {
      for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(half >> shift));
    }
  }
  EXPECT_EQ(combined_hex(chunks), hash128_hex(bytes));
  EXPECT_EQ(combined_hex({}), "99aa06d3014798d86001c324468d497f") << "XXH3-128 of nothing";
}

TEST(ContentHash, IsThatOfTheWholeFileForAnyThreads) {
  const TempFolder box;
  write_llama(box / "m", 1, DType::kF16, 3);
  const Checkpoint model = open_checkpoint(box / "m");
  const auto one = hash_weight_files(model, 1, nullptr);
  EXPECT_EQ(hash_weight_files(model, 8, nullptr), one);
  ASSERT_EQ(one.size(), 3u);
  for (std::size_t f = 0; f < one.size(); ++f) {
    EXPECT_EQ(one[f], hash128_hex(read_text(model.files()[f].path)));
    EXPECT_EQ(one[f], hash_file(model.files()[f].path));
  }
  const std::atomic<bool> stop{true};
  EXPECT_THROW(hash_weight_files(model, 2, &stop), Error);
}

}  // namespace
}  // namespace crucible
