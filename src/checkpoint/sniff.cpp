#include "checkpoint/sniff.h"

#include <algorithm>
#include <array>

namespace crucible {
namespace {

struct Mark {
  std::size_t offset;
  std::string_view bytes;
  std::string_view meaning;
};

using namespace std::string_view_literals;

constexpr std::array kMarks = {
    Mark{0, "version https://git-lfs"sv, "a Git LFS pointer, not the file itself (run `git lfs pull` in its repository)"sv},
    Mark{0, "GGUF"sv, "a GGUF file; GGUF is not supported yet"sv},
    Mark{0, "FUGG"sv, "a big-endian GGUF file; it is not supported"sv},
    Mark{0, "PK\x03\x04"sv, "a zip archive (PyTorch checkpoint?); only safetensors is supported yet"sv},
    Mark{0, "\x80\x02"sv, "a pickle (old PyTorch checkpoint?); only safetensors is supported yet"sv},
    Mark{0, "\x89HDF"sv, "an HDF5 (Keras) file; only safetensors is supported yet"sv},
    Mark{0, "\x1f\x8b"sv, "a gzip archive; unpack it first"sv},
    Mark{0,
         "\xfd"
         "7zXZ"sv,
         "an xz archive; unpack it first"sv},
    Mark{0, "\x28\xb5\x2f\xfd"sv, "a zstd archive; unpack it first"sv},
    Mark{257, "ustar"sv, "a tar archive; unpack it first"sv},
};

bool starts_with_folded(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && std::equal(lower.begin(), lower.end(), text.begin(), [](char l, char t) {
           return l == (t >= 'A' && t <= 'Z' ? static_cast<char>(t - 'A' + 'a') : t);
         });
}

}  // namespace

std::string sniff_file(std::string_view first_bytes) {
  for (const Mark& m : kMarks) {
    if (first_bytes.size() >= m.offset + m.bytes.size() && first_bytes.substr(m.offset, m.bytes.size()) == m.bytes)
      return std::string(m.meaning);
  }
  std::string_view text = first_bytes;
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  for (const std::string_view mark : {"<!doctype"sv, "<html"sv, "<?xml"sv}) {
    if (starts_with_folded(text, mark)) return "a web page (the download failed?)";
  }
  if (starts_with_folded(text, "{\"") || starts_with_folded(text, "[{\"")) return "a JSON text";
  const bool all_zero = first_bytes.size() >= 8 && std::all_of(first_bytes.begin(), first_bytes.end(), [](char c) { return c == 0; });
  if (all_zero) return "zeros at its start (an interrupted download or copy?)";
  return {};
}

}  // namespace crucible
