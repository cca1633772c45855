// Files as memory: what is read, what is lost, and whose signal a lost page is.
#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/file.h"
#include "support/faulty_file.h"
#include "support/resident_pages.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

const std::int64_t kPage = ::sysconf(_SC_PAGESIZE);

// `pages` pages; each byte of a page is its number, from 1 on.
std::string numbered_pages(std::int64_t pages) {
  std::string content;
  for (std::int64_t p = 1; p <= pages; ++p) content.append(static_cast<std::size_t>(kPage), static_cast<char>(p));
  return content;
}

int at(const FileMapping& mapping, std::int64_t offset) { return std::to_integer<int>(mapping.bytes()[offset]); }

TEST(FileMappingTest, HasTheBytesOfTheFile) {
  const TempFolder t;
  write_text(t / "a", "0123456789");
  const auto file = open_for_read(t / "a");
  const FileMapping* mapping = file->mapping();
  ASSERT_NE(mapping, nullptr);
  EXPECT_EQ(std::memcmp(mapping->bytes(), "0123456789", 10), 0);
  EXPECT_EQ(file->mapping(), mapping);
  EXPECT_EQ(mapping->lost(), -1);
}

TEST(FileMappingTest, NothingToMap) {
  const TempFolder t;
  write_text(t / "empty", "");
  write_text(t / "a", "x");
  EXPECT_EQ(open_for_read(t / "empty")->mapping(), nullptr);
  const auto refused = open_for_read(t / "a");
  const FaultySystem faults(1, ENODEV);
  EXPECT_EQ(refused->mapping(), nullptr);
}

TEST(FileMappingTest, WhatIsReleasedLeavesAndComesBack) {
  const TempFolder t;
  const std::int64_t along = FileMapping::kMappedAlong / kPage;
  const std::int64_t pages = 3 * along + 8;
  write_text(t / "a", numbered_pages(pages) + "end");
  const auto file = open_for_read(t / "a");
  const FileMapping& mapping = *file->mapping();
  const auto touch_all = [&] {
    for (std::int64_t p = 0; p < pages; ++p) EXPECT_EQ(at(mapping, p * kPage), static_cast<int>(static_cast<unsigned char>(p + 1)));
    EXPECT_EQ(at(mapping, pages * kPage), 'e');
  };
  touch_all();
  if (test::resident_pages(mapping, file->size()) < 0) GTEST_SKIP() << "this system does not tell which pages are resident";
  ASSERT_EQ(test::resident_pages(mapping, file->size()), pages + 1);
  // From within page 2 * along to within page 2 * along + 3: three pages, and those before. Of a large page, parts do not leave alone.
  mapping.release(2 * along * kPage + 1, 3 * kPage);
  EXPECT_LE(test::resident_pages(mapping, file->size()), pages + 1 - 3 - along);
  touch_all();
  // The last page counts as whole, though the file ends in it.
  mapping.release((pages - 1) * kPage, kPage + 3);
  EXPECT_LE(test::resident_pages(mapping, file->size()), pages + 1 - 2 - along);
  touch_all();
  mapping.release(0, 100 * file->size());  // as much as there is
  EXPECT_EQ(test::resident_pages(mapping, file->size()), 0);
  touch_all();
  EXPECT_EQ(mapping.lost(), -1);
}

TEST(FileMappingTest, LostPagesAreZerosAndAnError) {
  const TempFolder t;
  write_text(t / "a", numbered_pages(4));
  write_text(t / "b", numbered_pages(4));
  const auto file = open_for_read(t / "a");
  const auto other = open_for_read(t / "b");
  const FileMapping& mapping = *file->mapping();
  ASSERT_NE(other->mapping(), nullptr);
  ASSERT_EQ(::truncate((t / "a").c_str(), 2 * kPage), 0);
  EXPECT_EQ(at(mapping, kPage), 2);
  EXPECT_EQ(mapping.lost(), -1);
  EXPECT_EQ(at(mapping, 2 * kPage + 5), 0);
  EXPECT_EQ(at(mapping, 3 * kPage + 7), 0);
  EXPECT_EQ(mapping.lost(), 2 * kPage);  // the first one met
  EXPECT_EQ(other->mapping()->lost(), -1);
  try {
    file->throw_lost(mapping.lost());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDamaged);
    EXPECT_NE(std::string(error.what()).find("ends at byte " + std::to_string(2 * kPage)), std::string::npos) << error.what();
  }
  // What can be read by position was lost all the same.
  EXPECT_THROW(other->throw_lost(0), Error);
}

TEST(FileMappingTest, ThreadsMayLosePagesAtOnce) {
  const TempFolder t;
  write_text(t / "a", numbered_pages(64));
  const auto file = open_for_read(t / "a");
  const FileMapping& mapping = *file->mapping();
  ASSERT_EQ(::truncate((t / "a").c_str(), 0), 0);
  std::vector<int> sums(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      threads.emplace_back([&, i] {
        for (std::int64_t p = 0; p < 64; ++p) sums[i] += at(mapping, p * kPage);
        EXPECT_GE(mapping.lost(), 0);
      });
    }
  }
  EXPECT_EQ(sums, std::vector<int>(4, 0));
}

// A place in the handler's list is used again, without what it remembered.
TEST(FileMappingTest, LaterMappingsHaveLostNothing) {
  const TempFolder t;
  for (int round = 0; round < 3; ++round) {
    write_text(t / "a", numbered_pages(2));
    const auto file = open_for_read(t / "a");
    const FileMapping& mapping = *file->mapping();
    EXPECT_EQ(mapping.lost(), -1);
    ASSERT_EQ(::truncate((t / "a").c_str(), kPage), 0);
    EXPECT_EQ(at(mapping, kPage), 0);
    EXPECT_EQ(mapping.lost(), kPage);
  }
}

// Somebody else's page beyond the end of a file.
int touch_foreign_page(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* page = ::mmap(nullptr, static_cast<std::size_t>(2 * kPage), PROT_READ, MAP_SHARED, fd, 0);
  return static_cast<volatile char*>(page)[kPage];
}

void leave(int) { ::_exit(7); }
void leave_with_place(int, siginfo_t* info, void*) { ::_exit(info->si_addr != nullptr ? 8 : 9); }

using FileMappingDeathTest = ::testing::Test;

TEST(FileMappingDeathTest, SignalsOfOthersGoOn) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";  // a process in which nobody has mapped anything yet
  const TempFolder t;
  write_text(t / "a", "x");
  const auto touch = [&](auto before) {
    before();
    const auto file = open_for_read(t / "a");
    if (file->mapping() == nullptr) ::_exit(1);
    touch_foreign_page(t / "a");
    ::_exit(2);
  };
  EXPECT_EXIT(touch([] { ::signal(SIGBUS, SIG_DFL); }), ::testing::KilledBySignal(SIGBUS), "");
  EXPECT_EXIT(touch([] { ::signal(SIGBUS, leave); }), ::testing::ExitedWithCode(7), "");
  EXPECT_EXIT(touch([] {
                struct sigaction action {};
                action.sa_sigaction = leave_with_place;
                action.sa_flags = SA_SIGINFO;
                ::sigaction(SIGBUS, &action, nullptr);
              }),
              ::testing::ExitedWithCode(8), "");
}

}  // namespace
}  // namespace crucible
