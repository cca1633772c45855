// Fast content hashes (XXH3) and the keys of random streams. Not cryptographic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace crucible {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0) noexcept;

// 128-bit XXH3 as 32 hexadecimal digits.
std::string hash128_hex(std::string_view bytes);

struct Hash128 {
  std::uint64_t high = 0, low = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 hash128(const void* data, std::size_t size) noexcept;
// The hash of a thing that was hashed in chunks: XXH3-128 over their hashes, 16 big-endian bytes each, in order.
std::string combined_hex(std::span<const Hash128> chunks);

// The same over a stream of pieces.
class StreamHash {
 public:
  StreamHash();
  ~StreamHash();
  StreamHash(StreamHash&&) noexcept;
  StreamHash& operator=(StreamHash&&) noexcept;
  void update(const void* data, std::size_t size);
  std::string hex() const;  // of everything so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace crucible
