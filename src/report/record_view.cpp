#include "report/record_view.h"

#include <limits>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "crucible/error.h"
#include "report/layer_map.h"
#include "report/page.h"
#include "report/public_names.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

// One value of the record and where it stands ("tensors[3].models[0]").
class At {
 public:
  // `names` is applied to every text.
  struct Source {
    const std::string& file;
    const PublicNames& names;
  };
  At(const Json* value, std::string place, const Source* source) : value_(value), place_(std::move(place)), source_(source) {}

  bool has() const { return value_ != nullptr && !value_->is_null(); }
  const Json& json() const { return *value_; }

  [[noreturn]] void fail(const std::string& why) const {
    Diagnostics wrong;
    wrong.error({source_->file, 0, 0},
                fmt::format("the record is damaged: {} {}", place_.empty() ? "it" : "`" + printable(place_) + "`", why));
    wrong.throw_if_errors();
    std::abort();
  }

  At operator[](const char* key) const {
    std::string place = place_.empty() ? std::string(key) : place_ + "." + key;
    if (!has()) return {nullptr, std::move(place), source_};
    if (!value_->is_object()) fail("is not an object");
    const auto it = value_->find(key);
    return {it == value_->end() ? nullptr : &*it, std::move(place), source_};
  }

  std::string text() const {
    if (!has()) return {};
    if (!value_->is_string()) fail("is not text");
    return source_->names.publish(clean(value_->get_ref<const std::string&>()));
  }
  std::string required_text() const {
    if (!has()) fail("is missing");
    return text();
  }
  std::optional<double> number() const {
    if (!has()) return std::nullopt;
    if (!value_->is_number()) fail("is not a number");
    return value_->get<double>();
  }
  std::optional<int> integer() const {
    const auto value = number();
    if (!value) return std::nullopt;
    if (*value < std::numeric_limits<int>::min() || *value > std::numeric_limits<int>::max() || *value != static_cast<int>(*value)) {
      fail("is not a whole number of modest size");
    }
    return static_cast<int>(*value);
  }
  std::int64_t count(std::int64_t otherwise) const {
    const auto value = number();
    if (!value) return otherwise;
    if (*value < 0 || *value > 9e15) fail("is not a count");
    return static_cast<std::int64_t>(*value);
  }
  bool flag(bool otherwise) const {
    if (!has()) return otherwise;
    if (!value_->is_boolean()) fail("is neither true nor false");
    return value_->get<bool>();
  }
  int index(std::size_t size, const char* of) const {
    const auto value = integer();
    if (!value) return -1;
    if (*value < 0 || static_cast<std::size_t>(*value) >= size) fail(fmt::format("is {}, but there are {} {}", *value, size, of));
    return *value;
  }

  template <typename Each>
  void each(const Each& visit) const {
    if (!has()) return;
    if (!value_->is_array()) fail("is not a list");
    for (std::size_t i = 0; i < value_->size(); ++i) visit(At(&(*value_)[i], fmt::format("{}[{}]", place_, i), source_));
  }
  template <typename Each>
  void each_member(const Each& visit) const {
    if (!has()) return;
    if (!value_->is_object()) fail("is not an object");
    for (auto it = value_->begin(); it != value_->end(); ++it) {
      visit(clean(it.key()), At(&it.value(), fmt::format("{}.{}", place_, it.key()), source_));
    }
  }

 private:
  // Control characters are markup inside the report. What is not UTF-8 becomes what the record's text has in its place.
  static std::string clean(const std::string& raw) {
    if (!is_valid_utf8(raw)) return clean(Json::parse(Json(raw).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>());
    std::string out;
    out.reserve(raw.size());
    for (const char c : raw) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) {
        out += "\xEF\xBF\xBD";
      } else {
        out += c;
      }
    }
    return out;
  }

  const Json* value_;
  std::string place_;
  const Source* source_;
};

RecordView::File read_file(const At& at) {
  return {at["name"].text(), at["header_hash"].text(), at["content_hash"].text(),
          at["hash"].text(), at["bytes"].number(),     at["origin"].text()};
}

void read_effect(const At& at, RecordView::Effect& out) {
  out.entries = at["entries"].number();
  out.kept = at["kept"].number();
  out.planned = at["planned"].number();
  out.variance = at["variance"].number();
  out.l1_before = at["l1_before"].number();
  out.l1_after = at["l1_after"].number();
  out.votes = at["votes"].number();
  out.votes_lost = at["votes_lost"].number();
  out.norm = at["norm"].number();
  out.cosine = at["cosine"].number();
  out.angle_degrees = at["angle_degrees"].number();
}

RecordView::ParameterSet read_parameters(const At& at) {
  RecordView::ParameterSet out;
  at.each_member([&](const std::string& name, const At& one) {
    RecordView::Parameter p;
    p.name = name;
    if (one["value"].has() && one["value"].json().is_number()) p.value = one["value"].number();
    p.shown = one["shown"].text();
    if (p.shown.empty() && p.value) p.shown = render_number(*p.value);
    p.from = one["from"].text();
    p.filter = one["filter"].text();
    p.line = one["line"].integer().value_or(0);
    p.column = one["column"].integer().value_or(0);
    p.t = one["t"].number();
    out.push_back(std::move(p));
  });
  return out;
}

RecordView::Tensor read_tensor(const At& at, const RecordView& record) {
  RecordView::Tensor out;
  out.name = at["name"].required_text();
  out.dtype = at["dtype"].text();
  out.stack = at["stack"].text();
  out.role = at["role"].text();
  out.hash = at["hash"].text();
  out.copied_from = at["copied_from"].text();
  out.reason = at["reason"].text();
  out.layer = at["layer"].integer();
  out.elems = 1;
  at["shape"].each([&](const At& size) {
    out.shape.push_back(size.count(0));
    out.elems *= static_cast<double>(out.shape.back());
  });
  out.t = at["t"].number();
  out.out_norm = at["out_norm"].number();
  out.base_norm = at["base_norm"].number();
  out.cosine_base = at["cosine_base"].number();
  out.sign_conflicts = at["sign_conflicts"].number();
  out.nonfinite = at["nonfinite"].number();
  out.saturated = at["saturated"].number();
  out.global = at["global"].index(record.parameters.size(), "sets of parameters");
  at["models"].each([&](const At& one) {
    RecordView::Source source;
    read_effect(one, source);
    source.input = one["input"].index(record.inputs.size(), "inputs");
    if (source.input < 0) one.fail("has no `input`");
    source.parameters = one["parameters"].index(record.parameters.size(), "sets of parameters");
    source.tensor = one["tensor"].text();
    out.models.push_back(std::move(source));
  });
  at["notes"].each_member([&](const std::string& name, const At& value) {
    if (const auto number = value.number()) out.notes.emplace_back(name, *number);
  });
  return out;
}

void read_measured(const At& at, RecordView& out) {
  out.elems = at["elements"].number();
  out.sampled = at["sampled"].number();
  out.sign_conflicts = at["sign_conflicts"].number();
  out.nonfinite = at["nonfinite"].number();
  out.saturated = at["saturated"].number();
  out.out_norm = at["out_norm"].number();
  out.base_norm = at["base_norm"].number();
  out.cosine_base = at["cosine_base"].number();
  at["remarks"].each([&](const At& one) {
    out.remarks.push_back({with_code(one["text"].text()), one["first"].text(), one["tensors"].count(0)});
  });
  at["models"].each([&](const At& one) {
    RecordView::Model model;
    read_effect(one, model);
    model.input = one["input"].index(out.inputs.size(), "inputs");
    model.name = one["model"].text();
    if (model.name.empty()) model.name = out.model_name(model.input);
    one["deciles"].each([&](const At& d) {
      model.deciles.push_back(
          {d["entries"].number().value_or(0), d["kept"].number().value_or(0), d["planned"].number().value_or(0), d["variance"].number()});
    });
    out.models.push_back(std::move(model));
  });
  at["histograms"].each([&](const At& one) {
    RecordView::Histogram h;
    h.of = one["of"].text();
    if (one["input"].has()) h.input = one["input"].index(out.inputs.size(), "inputs");
    h.first_exponent = one["first_exponent"].integer().value_or(0);
    h.zeros = one["zeros"].number().value_or(0);
    one["counts"].each([&](const At& c) { h.counts.push_back(c.number().value_or(0)); });
    out.histograms.push_back(std::move(h));
  });
}

void read_expectations(const At& at, RecordView& out) {
  at.each([&](const At& one) {
    RecordView::Expectation e;
    e.parameter = one["parameter"].text();
    e.model = one["model"].text();
    e.tensor = one["tensor"].text();
    e.what = one["what"].text();
    e.measured = one["measured"].number();
    e.planned = one["planned"].number();
    e.sigmas = one["sigmas"].number();
    e.tolerance = one["tolerance"].number();
    e.count = one["count"].count(1);
    if (!one["ok"].has()) one.fail("has no `ok`");
    e.ok = one["ok"].flag(false);
    out.expectations.push_back(std::move(e));
  });
}

void read_run(const At& at, RecordView::Run& out) {
  out.seconds = at["seconds"].number();
  out.bytes_read = at["bytes_read"].number();
  out.bytes_written = at["bytes_written"].number();
  out.peak_bytes = at["peak_bytes"].number();
  out.predicted_peak_bytes = at["predicted_peak_bytes"].number();
  out.workers = at["workers"].number();
  if (at["cpu_level"].has()) out.cpu_level = at["cpu_level"].text();
}

// Records of before 0.1.0 hold a line for each layer.
void read_layer_map(const At& at, RecordView& out) {
  std::vector<NamedLayer> layers;
  at.each([&](const At& one) {
    if (one.json().is_string()) {
      out.layer_map.push_back(one.text());
      return;
    }
    NamedLayer layer{one["stack"].text(), one["layer"].integer().value_or(0), {}};
    one["from"].each([&](const At& from) {
      layer.from.emplace_back(out.model_name(from["input"].integer().value_or(-1)), from["layer"].integer().value_or(0));
    });
    layers.push_back(std::move(layer));
  });
  for (std::string& line : layer_map_lines(layers)) out.layer_map.push_back(std::move(line));
}

void read_folder(const At& at, RecordView& out) {
  out.companions_from = at["companions_from"].text();
  at["left_out"].each([&](const At& one) { out.left_out.push_back({one["name"].text(), one["reason"].text()}); });
  at["config_changes"].each([&](const At& one) {
    out.config_changes.push_back({one["file"].text(), one["key"].text(), one["old"].text(), one["new"].text(), one["why"].text()});
  });
  at["differences"].each([&](const At& one) {
    RecordView::Difference d{one["kind"].text(), {}};
    one["rows"].each([&](const At& row) {
      RecordView::Difference::Row r{row["key"].text(), row["file"].text(), row["chosen"].text(), {}};
      row["values"].each([&](const At& v) { r.values.emplace_back(v["input"].index(out.inputs.size(), "inputs"), v["value"].text()); });
      d.rows.push_back(std::move(r));
    });
    out.differences.push_back(std::move(d));
  });
  if (!at["post_check"].has()) return;
  out.post_check = RecordView::PostCheck{};
  out.post_check->checks = at["post_check"]["checks"].count(0);
  at["post_check"]["faults"].each([&](const At& text) { out.post_check->faults.push_back(text.text()); });
  at["post_check"]["notices"].each([&](const At& text) { out.post_check->notices.push_back(text.text()); });
}

void read_head(const At& at, RecordView& out) {
  out.program = at["program"].text();
  out.recipe_file = at["recipe_file"].text();
  out.recipe = at["recipe"].required_text();
  out.canonical_recipe = at["canonical_recipe"].text();
  out.method = at["method"].required_text();
  out.method_title = at["method_title"].text();
  out.formula = at["formula"].text();
  out.plan_digest = at["plan_digest"].text();
  if (at["seed"].has()) {
    if (!at["seed"].json().is_number_integer()) at["seed"].fail("is not a whole number");
    out.seed = at["seed"].json().get<std::uint64_t>();
  }
  out.shard_bytes = at["shard_bytes"].number();
  at["inputs"].each([&](const At& one) {
    RecordView::Input input{one["model"].text(), one["id"].text(), one["path"].text(), one["base"].flag(false), {}};
    one["files"].each([&](const At& file) { input.files.push_back(read_file(file)); });
    out.inputs.push_back(std::move(input));
  });
  at["files"].each([&](const At& file) { out.files.push_back(read_file(file)); });
  at["companions"].each([&](const At& file) { out.companions.push_back(read_file(file)); });
  at["notices"].each([&](const At& one) {
    out.notices.push_back({with_code(one["text"].text()), with_code(one["hint"].text()), one["line"].integer().value_or(0),
                           one["column"].integer().value_or(0)});
  });
  at["unused_parameters"].each([&](const At& one) {
    out.unused_parameters.push_back({one["name"].text(), one["line"].integer().value_or(0)});
  });
  read_folder(at, out);
  read_layer_map(at["layer_map"], out);
  at["fields"].each_member([&](const std::string& name, const At& one) {
    out.fields.push_back({name, one["help"].text(), one["symbol"].text(), one["type"].text()});
  });
}

}  // namespace

std::string RecordView::model_name(int input) const {
  if (input < 0 || static_cast<std::size_t>(input) >= inputs.size() || inputs[static_cast<std::size_t>(input)].model.empty()) {
    return fmt::format("model {}", input);
  }
  return inputs[static_cast<std::size_t>(input)].model;
}

namespace {

// The models and folders that the record names. What is no text is told later, with its place.
std::vector<std::string> local_names(const Json& record) {
  std::vector<std::string> names;
  if (!record.is_object() || !record.contains("inputs") || !record["inputs"].is_array()) return names;
  for (const Json& input : record["inputs"]) {
    for (const char* key : {"id", "path"}) {
      if (input.is_object() && input.contains(key) && input[key].is_string()) names.push_back(input[key].get<std::string>());
    }
  }
  return names;
}

}  // namespace

RecordView parse_record_view(const Json& record, const std::string& file) {
  const PublicNames names(local_names(record));
  const At::Source source{file, names};
  const At at(&record, "", &source);
  RecordView out;
  read_head(at, out);
  at["parameters"].each([&](const At& set) { out.parameters.push_back(read_parameters(set)); });
  at["tensors"].each([&](const At& one) { out.tensors.push_back(read_tensor(one, out)); });
  read_measured(at["measured"], out);
  read_expectations(at["expectations"], out);
  out.audit_on = at["audit"]["on"].flag(true);
  out.audit_checks = at["audit"]["checks"].number();
  out.false_alarm = at["audit"]["false_alarm"].number();
  if (const At silent = at["audit"]["silent"]; silent.has()) {
    out.silent.emplace();
    silent.each([&](const At& name) { out.silent->push_back(name.text()); });
  }
  read_run(at["run"], out.run);
  return out;
}

}  // namespace crucible
