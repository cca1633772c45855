#include "run/post_check.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "checkpoint/config_facts.h"
#include "checkpoint/index.h"
#include "checkpoint/safetensors.h"
#include "io/file.h"
#include "io/folder_swap.h"
#include "plan/fit.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

class Checker {
 public:
  Checker(const Plan& plan, const std::string& folder, PostCheck& check) : plan_(plan), folder_(folder), check_(check) {}

  void run() {
    for (std::size_t f = 0; f < plan_.files.size(); ++f) check_weights(static_cast<int>(f));
    for (const Job& job : plan_.jobs) {
      expect(seen_.contains(job.info.name), [&] { return fmt::format("tensor {} is in no weight file", printable(job.info.name)); });
    }
    for (std::size_t p = 0; p < plan_.parts.size(); ++p) {
      check_stray(plan_.parts[p]);
      check_index(p);
      check_config(plan_.parts[p]);
    }
    check_companions();
    check_model();
    count_nonfinite();
  }

 private:
  template <class Text>
  bool expect(bool ok, Text text) {
    ++check_.checks;
    if (!ok) check_.faults.push_back(text());
    return ok;
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  bool expect_file(const std::string& name) {
    return expect(path_exists(path(name)), [&] { return printable(name) + " is missing"; });
  }

  // A file whose content is wrong is a fault; that the system could not read it says nothing about the file.
  void fault_or_rethrow(const std::string& name, const Error& problem) {
    if (problem.code() == ErrorCode::kIo || problem.code() == ErrorCode::kNoSpace) throw problem;
    expect(false, [&] { return fmt::format("{} does not read back: {}", printable(name), problem.what()); });
  }

  void check_stray(const PlanPart& part) {
    const std::string folder = part.folder.empty() ? folder_ : path(part.folder);
    if (!is_folder(folder)) return;  // a part of which nothing is in the output
    for (const std::string& entry : list_folder(folder)) {
      if (!entry.ends_with(".safetensors")) continue;
      const std::string name = name_below(part.folder, entry);
      expect(std::any_of(plan_.files.begin(), plan_.files.end(), [&](const PlanFile& f) { return f.name == name; }),
             [&] { return fmt::format("{} is a weight file that was not planned", printable(name)); });
    }
  }

  void check_weights(int f) {
    const PlanFile& planned = plan_.files[static_cast<std::size_t>(f)];
    const std::string name = printable(planned.name);
    if (!expect_file(planned.name)) return;
    try {
      const auto file = open_for_read(path(planned.name));
      expect(file->size() == planned.bytes,
             [&] { return fmt::format("{} has {} bytes, planned were {}", name, file->size(), planned.bytes); });
      // The parser proves that tensors fill the data without overlap or gap.
      compare_entries(f, read_safetensors_header(*file), name);
    } catch (const Error& problem) {
      fault_or_rethrow(planned.name, problem);
    }
  }

  void compare_entries(int f, const SafetensorsHeader& header, const std::string& file_name) {
    std::map<std::string_view, const SafetensorsEntry*> there;
    for (const SafetensorsEntry& e : header.entries) there.emplace(e.info.name, &e);
    std::size_t planned = 0;
    for (const Job& job : plan_.jobs) {
      if (job.file != f) continue;
      ++planned;
      const auto it = there.find(plan_.name_in_file(job));
      if (it == there.end()) continue;  // told with all that are missing
      const SafetensorsEntry& e = *it->second;
      expect(seen_.insert(job.info.name).second, [&] { return fmt::format("tensor {} is in two files", printable(job.info.name)); });
      expect(e.info.dtype == job.info.dtype && e.info.shape == job.info.shape, [&] {
        return fmt::format("tensor {} of {} is {} {}, planned was {} {}", printable(job.info.name), file_name, facts(e.info.dtype).name,
                           to_string(e.info.shape), facts(job.info.dtype).name, to_string(job.info.shape));
      });
      expect(header.data_start + e.begin == job.offset && e.end - e.begin == job.bytes, [&] {
        return fmt::format("tensor {} lies at bytes {} to {} of {}, planned were {} to {}", printable(job.info.name),
                           header.data_start + e.begin, header.data_start + e.end, file_name, job.offset, job.offset + job.bytes);
      });
    }
    expect(header.entries.size() == planned,
           [&] { return fmt::format("{} has {} tensors, planned were {}", file_name, header.entries.size(), planned); });
  }

  void check_index(std::size_t p) {
    const PlanPart& part = plan_.parts[p];
    const std::string& name = part.index_name;
    const std::string shown = printable(name);
    if (part.index_text.empty()) {
      expect(!path_exists(path(name)), [&] { return fmt::format("{} stands beside a single weight file", shown); });
      return;
    }
    if (!expect_file(name)) return;
    try {
      compare_index(p, parse_weight_index(read_small_file(path(name), kMaxIndexBytes)), shown);
    } catch (const Error& problem) {
      fault_or_rethrow(name, problem);
    }
  }

  void compare_index(std::size_t p, const WeightIndex& index, const std::string& shown) {
    std::map<std::string_view, std::string_view> file_of;
    for (const WeightIndex::Item& item : index.items) file_of.emplace(item.tensor, index.files[static_cast<std::size_t>(item.file)]);
    std::size_t tensors = 0;
    std::int64_t bytes = 0;
    for (const Job& job : plan_.jobs) {
      const PlanFile& planned = plan_.files[static_cast<std::size_t>(job.file)];
      if (planned.part != p) continue;
      ++tensors;
      bytes += job.bytes;
      const auto it = file_of.find(plan_.name_in_file(job));
      expect(it != file_of.end(), [&] { return fmt::format("{} does not name tensor {}", shown, printable(job.info.name)); });
      if (it == file_of.end()) continue;
      expect(it->second == name_in_folder(planned.name, plan_.parts[p].folder), [&] {
        return fmt::format("{} has tensor {} in {}, it is in {}", shown, printable(job.info.name), printable(it->second),
                           printable(planned.name));
      });
    }
    expect(index.items.size() == tensors,
           [&] { return fmt::format("{} names {} tensors, there are {}", shown, index.items.size(), tensors); });
    expect(index.total_bytes && *index.total_bytes == static_cast<double>(bytes),
           [&] { return fmt::format("{} gives a total size of {:.0f} bytes, it is {}", shown, index.total_bytes.value_or(0), bytes); });
  }

  void check_config(const PlanPart& part) {
    const std::string name = part.config_name();
    if (part.config_text.empty() || !expect_file(name)) return;
    try {
      const std::string text = read_small_file(path(name), kMaxConfigBytes);
      expect(text == part.config_text, [&] { return fmt::format("{} is not the one that was planned", printable(name)); });
      parse_config_facts(text);
      if (!nlohmann::json::accept(text))
        check_.notices.push_back(fmt::format("{} is no standard JSON, as that of the input", printable(name)));
      ++check_.checks;
    } catch (const Error& problem) {
      fault_or_rethrow(name, problem);
    }
  }

  void check_companions() {
    const PlanInput& donor = plan_.inputs[static_cast<std::size_t>(plan_.donor)];
    for (const std::string& name : plan_.companions) {
      std::error_code no_source, no_copy;
      const auto source = fs::file_size(fs::path(donor.path) / name, no_source);
      const auto copy = fs::file_size(fs::path(folder_) / name, no_copy);
      expect(!no_copy, [&] { return fmt::format("{} is missing", printable(name)); });
      expect(no_copy || (!no_source && copy == source), [&] { return fmt::format("the copy of {} has another size", printable(name)); });
    }
  }

  // What is not finite was not made here: the run stops where finite inputs become something else.
  void count_nonfinite() {
    if (check_.copied_nonfinite > 0)
      check_.notices.push_back(fmt::format("{} elements of copied tensors are not finite, as in the input", check_.copied_nonfinite));
  }

  void check_model() {
    Fit fit = check_fit(plan_, plan_.options.copy_companions ? folder_ : std::string());
    check_.checks += fit.checks;
    std::move(fit.faults.begin(), fit.faults.end(), std::back_inserter(check_.faults));
    std::move(fit.notices.begin(), fit.notices.end(), std::back_inserter(check_.notices));
  }

  const Plan& plan_;
  const std::string& folder_;
  PostCheck& check_;
  std::set<std::string_view> seen_;
};

template <class Bits>
std::int64_t count_bits(const void* data, std::size_t size, Bits exponent) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::int64_t count = 0;
  for (std::size_t at = 0; at + sizeof(Bits) <= size; at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes + at, sizeof(Bits));
    count += static_cast<Bits>(bits & exponent) == exponent ? 1 : 0;
  }
  return count;
}

}  // namespace

void PostCheck::throw_if_wrong() const {
  if (faults.empty()) return;
  std::string text = "what was written is not the model that was planned; nothing was put in place:";
  for (const std::string& fault : faults) text += "\n  " + fault;
  throw Error(ErrorCode::kDamaged, text);
}

void check_coverage(const Plan& plan, const std::vector<std::int64_t>& unwritten, PostCheck& check) {
  for (std::size_t f = 0; f < unwritten.size(); ++f) {
    ++check.checks;
    if (unwritten[f] == 0) continue;
    check.faults.push_back(fmt::format("{} bytes of {} were not written, or written twice", unwritten[f], printable(plan.files[f].name)));
  }
}

void check_output(const Plan& plan, const std::string& folder, PostCheck& check) { Checker(plan, folder, check).run(); }

std::int64_t count_nonfinite_stored(DType dtype, const void* data, std::size_t size) noexcept {
  switch (dtype) {
    case DType::kF16: return count_bits<std::uint16_t>(data, size, 0x7C00);
    case DType::kBF16: return count_bits<std::uint16_t>(data, size, 0x7F80);
    case DType::kF32: return count_bits<std::uint32_t>(data, size, 0x7F80'0000);
    case DType::kF64: return count_bits<std::uint64_t>(data, size, 0x7FF0'0000'0000'0000);
    case DType::kF8E4M3: return count_bits<std::uint8_t>(data, size, 0x7F);
    case DType::kF8E5M2: return count_bits<std::uint8_t>(data, size, 0x7C);
    default: return 0;
  }
}

}  // namespace crucible
