#include "base/hash.h"

#ifdef CRUCIBLE_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>  // vector code for the CPU that it runs on
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

#include <fmt/format.h>

namespace crucible {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) noexcept { return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed); }

namespace {
std::string hex_of(XXH128_hash_t h) { return fmt::format("{:016x}{:016x}", h.high64, h.low64); }
}  // namespace

std::string hash128_hex(std::string_view bytes) { return hex_of(XXH3_128bits(bytes.data(), bytes.size())); }

Hash128 hash128(const void* data, std::size_t size) noexcept {
  const XXH128_hash_t h = XXH3_128bits(data, size);
  return {h.high64, h.low64};
}

std::string combined_hex(std::span<const Hash128> chunks) {
  StreamHash hash;
  for (const Hash128& chunk : chunks) {
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, {chunk.low, chunk.high});
    hash.update(bytes.digest, sizeof bytes.digest);
  }
  return hash.hex();
}

struct StreamHash::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

StreamHash::StreamHash() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh); }
StreamHash::~StreamHash() = default;
StreamHash::StreamHash(StreamHash&&) noexcept = default;
StreamHash& StreamHash::operator=(StreamHash&&) noexcept = default;
void StreamHash::update(const void* data, std::size_t size) { XXH3_128bits_update(state_->xxh, data, size); }
std::string StreamHash::hex() const { return hex_of(XXH3_128bits_digest(state_->xxh)); }

}  // namespace crucible
