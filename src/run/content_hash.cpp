#include "run/content_hash.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>

#include "base/hash.h"
#include "io/file.h"
#include "io/page_buffer.h"

namespace crucible {
namespace {

constexpr std::int64_t kPiece = std::int64_t{1} << 22;

template <typename Read>
std::string hash_stream(std::int64_t size, const std::atomic<bool>* stop, Read read) {
  PageBuffer buffer;
  StreamHash hash;
  for (std::int64_t at = 0; at < size; at += kPiece) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) throw Error(ErrorCode::kInterrupted, "interrupted");
    const auto n = static_cast<std::size_t>(std::min(kPiece, size - at));
    std::byte* bytes = buffer.place(at, std::min(kPiece, size - at));
    read(at, bytes, n);
    hash.update(bytes, n);
  }
  return hash.hex();
}

}  // namespace

std::vector<std::string> hash_weight_files(const Checkpoint& checkpoint, int threads, const std::atomic<bool>* stop) {
  std::vector<std::string> hashes(checkpoint.files().size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < hashes.size(); i = next++) {
        hashes[i] = hash_stream(checkpoint.files()[i].size_bytes, stop,
                                [&](std::int64_t at, void* buffer, std::size_t n) { checkpoint.read(static_cast<int>(i), at, buffer, n); });
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = hashes.size();
    }
  };
  {
    const auto wanted = std::min<std::size_t>(static_cast<std::size_t>(std::max(threads, 1)), hashes.size());
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < wanted; ++i) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return hashes;
}

std::string hash_file(const std::string& path) {
  const auto file = open_for_read(path);
  return hash_stream(file->size(), nullptr, [&](std::int64_t at, void* buffer, std::size_t n) { file->read_at(at, buffer, n); });
}

}  // namespace crucible
