// What belongs to the process: signals, the terminal, progress.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "crucible/error.h"
#include "crucible/merge.h"

namespace crucible {

// Ctrl-C asks to stop once and ends at once the second time; writing to a closed pipe or past a size limit is an error, not a death.
void prepare_process();
const std::atomic<bool>& stop_requested() noexcept;

enum class Talk { kNormal, kQuiet };

// Prints diagnostics to stderr. Notices are left out when quiet.
void print_diagnostics(const Diagnostics& diagnostics, Talk talk);

// A progress line on stderr: rewritten in place on a terminal, a plain line every ten seconds elsewhere, nothing when quiet or when
// the work is short.
class ProgressLine {
 public:
  // `done` is what the bytes of the progress are: "written", "read".
  explicit ProgressLine(Talk talk, const std::string& done = "written");
  ~ProgressLine();  // clears the line
  std::function<void(const MergeProgress&)> callback() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace crucible
