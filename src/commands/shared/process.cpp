#include "commands/shared/process.h"

#include <csignal>
#include <semaphore.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "base/text_util.h"
#include "io/output_folder.h"

namespace crucible {
namespace {

std::atomic<bool> g_stop{false};

sem_t g_second_signal;

extern "C" void on_signal(int) {
  if (g_stop.exchange(true)) sem_post(&g_second_signal);
}

// A signal handler may not remove folders, so a thread waits to do it.
void leave_at_second_signal() {
  while (sem_wait(&g_second_signal) != 0 && errno == EINTR) {
  }
  abandon_all_outputs();
  _exit(exit_code_of(ErrorCode::kInterrupted));
}

}  // namespace

void prepare_process() {
  if (sem_init(&g_second_signal, 0, 0) == 0) std::thread(leave_at_second_signal).detach();
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaction(s, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  // Models of many shards need many files open at once.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

const std::atomic<bool>& stop_requested() noexcept { return g_stop; }

void print_diagnostics(const Diagnostics& diagnostics, Talk talk) {
  Diagnostics shown;
  for (const Diagnostic& d : diagnostics.items()) {
    if (d.severity == Severity::kError || talk == Talk::kNormal) shown.add(d);
  }
  std::fputs(render_diagnostics(shown).c_str(), stderr);
}

struct ProgressLine::State {
  using Clock = std::chrono::steady_clock;
  Talk talk;
  std::string done;
  bool terminal = isatty(STDERR_FILENO) == 1;
  Clock::time_point start = Clock::now();
  Clock::time_point last_line = start;
  bool drawn = false;
  std::mutex mutex;

  void show(const MergeProgress& p) {
    if (talk == Talk::kQuiet || p.bytes_total == 0) return;
    const std::lock_guard lock(mutex);
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - start).count();
    constexpr double kShortWork = 1.0;
    constexpr double kPlainLineEvery = 10.0;
    if (seconds < kShortWork) return;
    if (!terminal && std::chrono::duration<double>(now - last_line).count() < kPlainLineEvery) return;
    last_line = now;
    const double share = static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes_total);
    const double left = share > 0 ? seconds / share - seconds : 0;
    const std::string text = fmt::format("{:5.1f} %  {:.2f} GB/s {}  {:.0f} s left  {}", 100 * share,
                                         static_cast<double>(p.bytes_done) / seconds / 1e9, done, left, printable(p.tensor, 60));
    std::fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", text.c_str());
    std::fflush(stderr);
    drawn = terminal;
  }
};

ProgressLine::ProgressLine(Talk talk, const std::string& done) : state_(std::make_shared<State>()) {
  state_->talk = talk;
  state_->done = done;
}
ProgressLine::~ProgressLine() {
  if (state_->drawn) std::fputs("\r\033[K", stderr);
}
std::function<void(const MergeProgress&)> ProgressLine::callback() const {
  return [state = state_](const MergeProgress& p) { state->show(p); };
}

}  // namespace crucible
