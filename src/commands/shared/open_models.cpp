#include "commands/shared/open_models.h"

#include <optional>

#include "checkpoint/locate.h"
#include "run/runner.h"

namespace crucible {

std::vector<Checkpoint> open_models(const std::vector<std::string>& paths, Talk talk) {
  Diagnostics diagnostics;
  std::vector<Checkpoint> models;
  LocateOptions locate;
  locate.mapping = LocateOptions::Mapping::kNone;
  for (const std::string& typed : paths) {
    if (const auto path = locate_model(typed, {}, {}, locate, diagnostics)) models.push_back(Checkpoint::open(*path, diagnostics));
  }
  diagnostics.throw_if_errors();
  print_diagnostics(diagnostics, talk);
  return models;
}

StreamOptions stream_options(const MergeOptions& options, const ProgressLine& progress) {
  const MergeRequest request = make_request(options);
  StreamOptions stream;
  stream.threads = request.threads > 0 ? request.threads : default_threads();
  stream.memory_bytes = request.memory_bytes > 0 ? request.memory_bytes : default_memory();
  stream.stop = request.stop;
  stream.progress = [show = progress.callback()](const StreamProgress& p) { show({p.bytes_done, p.bytes_total, p.tensor}); };
  return stream;
}

}  // namespace crucible
