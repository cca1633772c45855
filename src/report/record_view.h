// crucible.json as plain values, for the report. Everything that may be absent is optional or empty; what is there has been checked:
// indices point at something, numbers are numbers, text holds no control characters but newlines and tabs, and no absolute paths. Texts
// written by the program (notices, hints, remarks) carry the marks of page.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace crucible {

struct RecordView {
  struct File {
    std::string name, header_hash, content_hash, hash;
    std::optional<double> bytes;
    std::string origin;  // "copied" or "rebuilt"; empty: not recorded
  };
  struct Input {
    std::string model, id, path;
    bool base = false;
    std::vector<File> files;
  };
  struct Notice {
    std::string text, hint;
    int line = 0, column = 0;  // 0: no place
  };
  struct Unused {
    std::string name;
    int line = 0;
  };
  struct LeftOut {
    std::string name, reason;
  };
  struct ConfigChange {
    std::string file;                     // of a part; empty = config.json of the model's own folder
    std::string key, before, after, why;  // values as JSON text; before is empty where the key was absent
  };
  // What the inputs disagree about apart from their weights.
  struct Difference {
    struct Row {
      std::string key, file, chosen;
      std::vector<std::pair<int, std::string>> values;  // input, value
    };
    std::string kind;
    std::vector<Row> rows;
  };
  struct PostCheck {
    std::int64_t checks = 0;
    std::vector<std::string> faults, notices;
  };
  struct Field {
    std::string name, help, symbol, type;
  };
  struct Parameter {
    std::string name, shown, from, filter;
    int line = 0, column = 0;
    std::optional<double> value, t;
  };
  using ParameterSet = std::vector<Parameter>;

  // Counts and norms of one model, in one tensor or in all.
  struct Effect {
    std::optional<double> entries, kept, planned, variance, l1_before, l1_after, votes, votes_lost, norm, cosine, angle_degrees;
  };
  struct Source : Effect {
    int input = 0;
    int parameters = -1;  // -1: not recorded
    std::string tensor;
  };
  struct Tensor {
    std::string name, dtype, stack, role, hash, copied_from, reason;
    std::vector<std::int64_t> shape;
    double elems = 0;
    std::optional<int> layer;
    std::optional<double> t, out_norm, base_norm, cosine_base, sign_conflicts, nonfinite, saturated;
    int global = -1;
    std::vector<Source> models;
    std::vector<std::pair<std::string, double>> notes;
    bool copied() const { return !copied_from.empty(); }
  };
  struct Decile {
    double entries = 0, kept = 0, planned = 0;
    std::optional<double> variance;
  };
  struct Model : Effect {
    int input = 0;
    std::string name;
    std::vector<Decile> deciles;
  };
  struct Histogram {
    std::string of;
    std::optional<int> input;
    int first_exponent = 0;
    std::vector<double> counts;
    double zeros = 0;
  };
  struct Remark {
    std::string text, first;
    std::int64_t tensors = 0;
  };
  struct Expectation {
    std::string parameter, model, tensor, what;
    std::optional<double> measured, planned, sigmas, tolerance;
    std::int64_t count = 1;
    bool ok = true;
  };
  struct Run {
    std::optional<double> seconds, bytes_read, bytes_written, peak_bytes, predicted_peak_bytes, workers;
    std::string cpu_level;
  };

  std::string program, recipe_file, recipe, canonical_recipe, method, method_title, formula, plan_digest;
  std::optional<std::uint64_t> seed;
  std::optional<double> shard_bytes;
  std::vector<Input> inputs;
  std::vector<File> files, companions;
  std::string companions_from;  // model whose config and other files were used
  std::vector<LeftOut> left_out;
  std::vector<ConfigChange> config_changes;
  std::vector<Difference> differences;
  std::optional<PostCheck> post_check;
  std::vector<Notice> notices;
  std::vector<Unused> unused_parameters;
  std::vector<std::string> layer_map;
  std::vector<Field> fields;
  std::vector<ParameterSet> parameters;
  std::vector<Tensor> tensors;
  std::optional<double> elems, sampled, sign_conflicts, nonfinite, saturated, out_norm, base_norm, cosine_base;
  std::vector<Remark> remarks;
  std::vector<Model> models;
  std::vector<Histogram> histograms;
  std::vector<Expectation> expectations;
  bool audit_on = true;
  std::optional<double> audit_checks, false_alarm;
  std::optional<std::vector<std::string>> silent;  // parameters of which nothing can be measured
  Run run;

  // As the recipe writes it; "model 3" where the record does not say.
  std::string model_name(int input) const;
};

// Throws InputError that names the place in the record (`file`) where something is missing or wrong.
RecordView parse_record_view(const nlohmann::ordered_json& record, const std::string& file);

}  // namespace crucible
