// Files by position: bounds, special files, changes under way, and every system call failing once.
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "support/faulty_file.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

template <class Action>
Error error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kAudit, "no error");
}

void expect_error(const Error& error, ErrorCode code, const std::string& part) {
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
}

TEST(ReadFileTest, ReadsAnyRange) {
  const TempFolder t;
  write_text(t / "a", "0123456789");
  const auto file = open_for_read(t / "a");
  EXPECT_EQ(file->size(), 10);
  std::string got(4, ' ');
  file->read_at(3, got.data(), 4);
  EXPECT_EQ(got, "3456");
  file->read_at(10, nullptr, 0);
}

TEST(ReadFileTest, EndsEarlyIsDamaged) {
  const TempFolder t;
  write_text(t / "a", "0123456789");
  const auto file = open_for_read(t / "a");
  char buffer[8];
  expect_error(error_of([&] { file->read_at(5, buffer, 8); }), ErrorCode::kDamaged, "ends at byte 10");
}

TEST(ReadFileTest, RefusesWhatIsNoRegularFile) {
  const TempFolder t;
  ASSERT_EQ(::mkfifo((t / "pipe").c_str(), 0600), 0);
  fs::create_directory(t / "folder");
  fs::create_symlink("nowhere", t / "dangling");
  fs::create_symlink("loop", t / "loop");
  expect_error(error_of([&] { open_for_read(t / "pipe"); }), ErrorCode::kInput, "named pipe");
  expect_error(error_of([&] { open_for_read(t / "folder"); }), ErrorCode::kInput, "a folder");
  expect_error(error_of([&] { open_for_read("/dev/zero"); }), ErrorCode::kInput, "a device");
  expect_error(error_of([&] { open_for_read(t / "dangling"); }), ErrorCode::kInput, "link to a file that does not exist");
  expect_error(error_of([&] { open_for_read(t / "loop"); }), ErrorCode::kInput, "cannot open");
  expect_error(error_of([&] { open_for_read(t / "absent"); }), ErrorCode::kInput, "No such file");
  expect_error(error_of([&] { open_for_read(std::string("a\0b", 3)); }), ErrorCode::kInput, "a\\x00b");
}

TEST(ReadFileTest, FollowsLinks) {
  const TempFolder t;
  write_text(t / "a", "x");
  fs::create_symlink("a", t / "link");
  EXPECT_EQ(read_small_file(t / "link", 10), "x");
}

TEST(ReadFileTest, NoticesChanges) {
  const TempFolder t;
  write_text(t / "a", "0123456789");
  const auto file = open_for_read(t / "a");
  file->check_unchanged();
  write_text(t / "b", "0123456789");
  fs::rename(t / "b", t / "a");
  expect_error(error_of([&] { file->check_unchanged(); }), ErrorCode::kDamaged, "replaced");

  const auto second = open_for_read(t / "a");
  ASSERT_EQ(::truncate((t / "a").c_str(), 4), 0);
  expect_error(error_of([&] { second->check_unchanged(); }), ErrorCode::kDamaged, "10 bytes when opened, 4 now");

  const auto third = open_for_read(t / "a");
  const timespec times[2] = {{0, UTIME_NOW}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (t / "a").c_str(), times, 0), 0);
  expect_error(error_of([&] { third->check_unchanged(); }), ErrorCode::kDamaged, "written to");
}

TEST(ReadFileTest, ShortAndInterruptedReadsGoOn) {
  const TempFolder t;
  write_text(t / "a", "0123456789");
  const RestoredCalls restored;
  static int call;
  call = 0;
  system_calls().pread = [](int fd, void* b, std::size_t n, off_t o) -> ssize_t {
    if (++call % 2 == 1) {
      errno = EINTR;
      return -1;
    }
    return ::pread(fd, b, n > 3 ? 3 : n, o);
  };
  std::string got(10, ' ');
  open_for_read(t / "a")->read_at(0, got.data(), 10);
  EXPECT_EQ(got, "0123456789");
  EXPECT_EQ(call, 8);
}

TEST(ReadFileTest, TakesMoreFilesThanTheSoftLimit) {
  const TempFolder t;
  write_text(t / "a", "x");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 32;
  if (tight.rlim_max < 64) GTEST_SKIP() << "the hard limit leaves no room";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  std::vector<std::unique_ptr<ReadFile>> files;
  for (int i = 0; i < 50; ++i) files.push_back(open_for_read(t / "a"));
  EXPECT_EQ(files.size(), 50u);
  files.clear();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(WriteFileTest, WritesInAnyOrder) {
  const TempFolder t;
  auto file = create_for_write(t / "a", 6);
  file->write_at(3, "def", 3);
  file->write_at(0, "abc", 3);
  file->start_writeback(0, 6);
  file->sync_and_close();
  EXPECT_EQ(read_text(t / "a"), "abcdef");
}

TEST(WriteFileTest, RefusesAnExistingName) {
  const TempFolder t;
  write_text(t / "a", "old");
  fs::create_symlink("elsewhere", t / "link");
  expect_error(error_of([&] { create_for_write(t / "a", 1); }), ErrorCode::kIo, "File exists");
  expect_error(error_of([&] { create_for_write(t / "link", 1); }), ErrorCode::kIo, "File exists");
  EXPECT_EQ(read_text(t / "a"), "old");
}

TEST(WriteFileTest, ShortAndInterruptedWritesGoOn) {
  const TempFolder t;
  const RestoredCalls restored;
  static int call;
  call = 0;
  system_calls().pwrite = [](int fd, const void* b, std::size_t n, off_t o) -> ssize_t {
    if (++call % 2 == 1) {
      errno = EINTR;
      return -1;
    }
    return ::pwrite(fd, b, n > 3 ? 3 : n, o);
  };
  write_small_file(t / "a", "0123456789");
  EXPECT_EQ(read_text(t / "a"), "0123456789");
}

TEST(WriteFileTest, FallsBackWhenTheDiskCannotPreallocate) {
  const TempFolder t;
  const RestoredCalls restored;
  system_calls().allocate = [](int, off_t) {
    errno = EOPNOTSUPP;
    return -1;
  };
  create_for_write(t / "a", 100)->sync_and_close();
  EXPECT_EQ(fs::file_size(t / "a"), 100u);
}

TEST(WriteFileTest, NoSpaceLeavesNoFile) {
  const TempFolder t;
  const RestoredCalls restored;
  system_calls().allocate = [](int, off_t) {
    errno = ENOSPC;
    return -1;
  };
  const Error error = error_of([&] { create_for_write(t / "a", 100); });
  expect_error(error, ErrorCode::kNoSpace, "cannot reserve 100 bytes");
  EXPECT_FALSE(path_exists(t / "a"));
}

TEST(WriteFileTest, SizeLimitIsNoSpace) {
  const TempFolder t;
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Error error = error_of([&] { create_for_write(t / "a", 1 << 20); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old);
  expect_error(error, ErrorCode::kNoSpace, "File too large");
}

TEST(WriteFileTest, AFailedSyncIsNotRetried) {
  const TempFolder t;
  const RestoredCalls restored;
  static int calls;
  calls = 0;
  system_calls().sync = [](int) {
    errno = EIO;
    return ++calls == 1 ? -1 : 0;
  };
  const Error error = error_of([&] { write_small_file(t / "a", "x"); });
  expect_error(error, ErrorCode::kIo, "cannot sync to disk");
  EXPECT_EQ(calls, 1);
}

TEST(WriteFileTest, EveryCallThatFailsIsAnError) {
  for (int n = 1;; ++n) {
    const TempFolder t;
    const FaultySystem faults(n, EIO);
    const Error error = error_of([&] { write_small_file(t / "a", "x"); });
    if (faults.calls() < n) {
      EXPECT_EQ(read_text(t / "a"), "x");
      EXPECT_GE(n, 5);
      break;
    }
    expect_error(error, ErrorCode::kIo, "Input/output error");
  }
}

TEST(SmallFileTest, RefusesMoreThanTheLimit) {
  const TempFolder t;
  write_text(t / "a", "12345");
  EXPECT_EQ(read_small_file(t / "a", 5), "12345");
  expect_error(error_of([&] { read_small_file(t / "a", 4); }), ErrorCode::kDamaged, "has 5 bytes");
}

TEST(PathTest, TellsFoldersFromFiles) {
  const TempFolder t;
  write_text(t / "a", "");
  EXPECT_TRUE(is_folder(t.path()));
  EXPECT_FALSE(is_folder(t / "a"));
  EXPECT_TRUE(path_exists(t / "a"));
  EXPECT_FALSE(path_exists(t / "b"));
}

}  // namespace
}  // namespace crucible
