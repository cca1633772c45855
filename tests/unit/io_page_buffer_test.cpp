// Memory that begins at the place within a page that the bytes have in their file.
#include <gtest/gtest.h>

#include <cstring>

#include "io/page_buffer.h"

namespace crucible {
namespace {

TEST(PageBuffer, StandsWhereTheFileDoes) {
  PageBuffer buffer;
  EXPECT_EQ(buffer.data(), nullptr);
  for (const std::int64_t offset : {0, 8, 24, 4095, 4096, 123'456'789}) {
    for (const std::int64_t size : {1, 16, 4096, 4097, 70'000, 5}) {
      std::byte* bytes = buffer.place(offset, size);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes) % 4096, static_cast<std::uintptr_t>(offset % 4096));
      EXPECT_EQ(buffer.data(), bytes);
      std::memset(bytes, 1, static_cast<std::size_t>(size));  // an address sanitizer sees a write past the end
    }
  }
}

// Memory is taken once for a size, wherever in a page the bytes stand.
TEST(PageBuffer, KeepsItsMemory) {
  PageBuffer buffer;
  const std::byte* page = buffer.place(0, 16'384);
  for (std::int64_t offset = 0; offset < 4096; offset += 8) EXPECT_EQ(buffer.place(offset, 16'384), page + offset);
}

}  // namespace
}  // namespace crucible
