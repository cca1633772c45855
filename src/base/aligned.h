// Memory of whole cache lines. A vector of the processor that crosses from one line to the next is read twice, and threads that write to
// one line wait for each other, though each has its own part of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "base/checked.h"

namespace crucible {

inline constexpr std::int64_t kCacheLine = 64;

template <typename T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) noexcept {}
  T* allocate(std::size_t count) {
    const std::int64_t bytes = ceil_div(static_cast<std::int64_t>(count * sizeof(T)), kCacheLine) * kCacheLine;
    return static_cast<T*>(::operator new (static_cast<std::size_t>(bytes), std::align_val_t{static_cast<std::size_t>(kCacheLine)}));
  }
  void deallocate(T* at, std::size_t) noexcept { ::operator delete (at, std::align_val_t{static_cast<std::size_t>(kCacheLine)}); }
  bool operator==(const AlignedAllocator&) const noexcept { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace crucible
