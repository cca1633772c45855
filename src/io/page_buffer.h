// Memory for bytes of a file, at the place within a page that they have in the file. AMD processors of the Zen 3 and 4 kinds copy between
// the page cache and a buffer three times slower where the two places within a page differ by 8 to about 24 bytes, which is what memory
// from malloc and the start of a file do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace crucible {

class PageBuffer {
 public:
  PageBuffer() = default;
  PageBuffer(PageBuffer&& other) noexcept { *this = std::move(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    capacity_ = std::exchange(other.capacity_, 0);
    data_ = std::exchange(other.data_, nullptr);
    return *this;
  }

  // Room for `size` bytes that stand at `file_offset` of their file. Bytes of an earlier call are gone.
  std::byte* place(std::int64_t file_offset, std::int64_t size) {
    const std::int64_t within = file_offset % kPage;
    if (within + size > capacity_) {
      bytes_.reset();
      capacity_ = 0;
      const std::int64_t capacity = (size + 2 * kPage - 1) / kPage * kPage;  // room at every place within a page
      bytes_.reset(static_cast<std::byte*>(::operator new(static_cast<std::size_t>(capacity), kAlignment)));
      capacity_ = capacity;
    }
    data_ = bytes_.get() + within;
    return data_;
  }
  // What the last call of place() gave.
  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }

 private:
  static constexpr std::int64_t kPage = 4096;
  static constexpr std::align_val_t kAlignment{4096};
  struct Free {
    void operator()(std::byte* bytes) const noexcept { ::operator delete(bytes, kAlignment); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::int64_t capacity_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace crucible
