// crucible.json, version 2: what was asked, from which files, what was written and what was measured. docs/crucible-record.schema.json
// describes it; a test holds the two together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "crucible/error.h"
#include "plan/plan.h"
#include "report/summary.h"
#include "run/write_model.h"

namespace crucible {

inline constexpr int kRecordVersion = 2;
inline constexpr const char* kRecordName = "crucible.json";

// How fast and where it ran: the only part of a record that differs from run to run.
struct RunFacts {
  std::int64_t predicted_peak_bytes = 0;
  int workers = 0;
  std::string cpu_level;
};

// `output_folder` is where the record will lie: input paths are written relative to it where they can be.
nlohmann::ordered_json make_record(const Plan& plan, const RunResult& result, const RunSummary& summary, const Written& written,
                                   const RunFacts& facts, const std::string& output_folder);

// The text of a record, with a checksum over all other keys as its last one: what was edited later is told from what was written.
std::string render_record(nlohmann::ordered_json record);

// A record read back. Everything that `verify` compares; the rest is in `json`.
// NOLINTNEXTLINE(bugprone-exception-escape): moves of nlohmann::ordered_json check themselves with asserts
struct Record {
  struct File {
    std::string name;
    std::int64_t bytes = 0;
    std::string header_hash;   // of a weight file
    std::string content_hash;  // of the whole file; empty = not recorded
  };
  struct Input {
    std::string model;  // as the recipe writes it
    std::string id;     // as --model names it
    std::string path;   // absolute, or relative to the working directory
    std::vector<File> files;
  };
  struct Tensor {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
    int file = 0;  // index into files
    std::string hash;
    std::int64_t hash_chunk = 0;  // bytes
    bool copied = false;
  };
  std::string program_version;
  std::string recipe_file;
  std::string recipe_text;
  PathForm paths = PathForm::kReference;  // how the recipe writes its models
  std::string method;
  std::uint64_t seed = 0;
  std::int64_t shard_bytes = 0;
  MissingTensors missing = MissingTensors::kError;
  std::string plan_digest;
  std::string companions_from;  // model whose config and companions were used; empty = not recorded
  std::vector<Input> inputs;
  std::vector<File> files;
  std::vector<File> companions;  // content_hash given
  std::vector<Tensor> tensors;
  nlohmann::ordered_json json;

  std::vector<std::pair<std::string, std::string>> model_dirs() const;  // id -> folder
};

// Problems go to `diagnostics`: no record, cut off, damaged, of another version, a key that is missing or of another type, or edited
// after it was written.
std::optional<Record> open_record(const std::string& folder, Diagnostics& diagnostics);
// The same of a text; `file` is its name in messages and `folder` what its paths are relative to.
std::optional<Record> parse_record(const std::string& text, const std::string& file, const std::string& folder, Diagnostics& diagnostics);

}  // namespace crucible
