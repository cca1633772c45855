#include "base/random.h"

#include <Random123/philox.h>

#include "base/hash.h"

namespace crucible {

RandomKey make_random_key(std::uint64_t seed, std::string_view tensor, std::string_view model) noexcept {
  // The names are hashed one after the other, so ("ab", "c") and ("a", "bc") differ.
  const std::uint64_t key = hash64(model, hash64(tensor, seed));
  return {{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}};
}

namespace {

std::uint32_t number(RandomKey key, std::uint64_t index, std::uint32_t twin) noexcept {
  const std::uint64_t block = index / 4;
  const r123::Philox4x32::ctr_type counter = {{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), twin, 0}};
  const r123::Philox4x32::key_type k = {{key.words[0], key.words[1]}};
  return r123::Philox4x32()(counter, k)[static_cast<std::size_t>(index % 4)];
}

}  // namespace

std::uint32_t random_u32(RandomKey key, std::uint64_t index) noexcept { return number(key, index, 0); }

std::uint32_t random_draw(RandomKey key, std::uint64_t index) noexcept {
  const auto shift = static_cast<int>(index % 2) * 16;
  const std::uint32_t upper = number(key, index / 2, 0) >> shift & 0xFFFF;
  const std::uint32_t lower = number(key, index / 2, 1) >> shift & 0xFFFF;
  return upper << 16 | lower;
}

}  // namespace crucible
