#include "io/file_mapping.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <mutex>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/aligned.h"
#include "io/system_calls.h"

namespace crucible {

// A place in a list that only grows: the handler may walk it at any time. Places of mappings that are gone are used again.
struct alignas(kCacheLine) FileMapping::Watched {
  std::atomic<const std::byte*> begin{nullptr};  // null: of no mapping
  std::atomic<std::int64_t> size{0};
  std::atomic<std::int64_t> lost{-1};
  std::atomic<bool> taken{false};
  Watched* next = nullptr;
};

namespace {

using Watched = FileMapping::Watched;

std::atomic<Watched*> g_watched{nullptr};
struct sigaction g_before {};

std::int64_t page_size() noexcept {
  static const std::int64_t size = ::sysconf(_SC_PAGESIZE);
  return size;
}

// The mapping that an address belongs to.
Watched* find_watched(const std::byte* address, std::int64_t& offset) noexcept {
  for (Watched* w = g_watched.load(std::memory_order_acquire); w != nullptr; w = w->next) {
    const std::byte* begin = w->begin.load(std::memory_order_acquire);
    if (begin == nullptr || address < begin) continue;
    offset = address - begin;
    const bool within = offset < w->size.load(std::memory_order_acquire);
    if (within && w->begin.load(std::memory_order_relaxed) == begin) return w;  // else the size may be that of a later mapping
  }
  return nullptr;
}

// A page of zeros in the place of another one. The call itself, not the library's, around which others may have put something: other
// threads may look at the page meanwhile.
bool put_zeros(std::byte* at) noexcept {
  const long got = ::syscall(SYS_mmap, at, page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L);
  return got == static_cast<long>(reinterpret_cast<std::uintptr_t>(at));
}

// Nothing here but what a signal handler may do: atomics and system calls.
extern "C" void on_bus_error(int signal, siginfo_t* info, void* context) {
  auto* address = static_cast<std::byte*>(info->si_addr);
  std::int64_t offset = 0;
  if (Watched* w = find_watched(address, offset)) {
    const std::int64_t page = offset / page_size() * page_size();
    std::int64_t none = -1;
    w->lost.compare_exchange_strong(none, page);  // before there are zeros to be read
    if (put_zeros(address - (offset - page))) return;
  }
  if ((g_before.sa_flags & SA_SIGINFO) != 0) {
    g_before.sa_sigaction(signal, info, context);
  } else if (g_before.sa_handler != SIG_DFL && g_before.sa_handler != SIG_IGN) {
    g_before.sa_handler(signal);
  } else {
    // The read is made again on return, and ends the program as it would have without this handler.
    ::signal(SIGBUS, SIG_DFL);
  }
}

void take_signal() {
  static_cast<void>(page_size());  // its first call is not for a handler
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &g_before);
}

Watched* watch(const std::byte* begin, std::int64_t size) {
  static std::once_flag taken;
  std::call_once(taken, take_signal);
  Watched* place = g_watched.load(std::memory_order_acquire);
  while (place != nullptr && place->taken.exchange(true)) place = place->next;
  if (place == nullptr) {
    place = new Watched;
    place->taken = true;
    place->next = g_watched.load();
    while (!g_watched.compare_exchange_weak(place->next, place)) {
    }
  }
  place->lost = -1;
  place->size = size;
  place->begin = begin;
  return place;
}

}  // namespace

std::unique_ptr<FileMapping> FileMapping::make(int fd, std::int64_t size) {
  // Where addresses are short, files of many gigabytes do not fit.
  if (size <= 0 || sizeof(void*) < 8) return nullptr;
  void* bytes = system_calls().map(fd, static_cast<std::size_t>(size));
  if (bytes == MAP_FAILED) return nullptr;
  return std::unique_ptr<FileMapping>(new FileMapping(static_cast<const std::byte*>(bytes), size));
}

FileMapping::FileMapping(const std::byte* bytes, std::int64_t size) : bytes_(bytes), size_(size), watched_(watch(bytes, size)) {}

FileMapping::~FileMapping() {
  watched_->begin = nullptr;
  watched_->taken = false;
  ::munmap(const_cast<std::byte*>(bytes_), static_cast<std::size_t>(size_));
}

std::int64_t FileMapping::lost() const noexcept { return watched_->lost.load(std::memory_order_acquire); }

void FileMapping::release(std::int64_t offset, std::int64_t size) const noexcept {
  const std::int64_t begin = std::max<std::int64_t>(0, offset - kMappedAlong) / page_size() * page_size();
  const std::int64_t end = offset + size >= size_ ? size_ : (offset + size) / page_size() * page_size();
  if (begin < end) ::madvise(const_cast<std::byte*>(bytes_) + begin, static_cast<std::size_t>(end - begin), MADV_DONTNEED);
}

}  // namespace crucible
