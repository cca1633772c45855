#include "commands/shared/multi_run.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "checkpoint/locate.h"
#include "commands/shared/scratch_folder.h"
#include "io/file.h"
#include "io/folder_swap.h"
#include "io/output_folder.h"
#include "recipe/multi.h"
#include "report/library.h"
#include "report/resume.h"
#include "report/text.h"
#include "run/skeleton.h"
#include "text/lines.h"
#include "text/yaml.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

// Where planned outputs lie while later documents are planned.
class SkeletonRoom {
 public:
  SkeletonRoom() : path_(make_temporary_folder((fs::temp_directory_path() / "crucible-plan-").string())) {
    if (path_.empty()) throw Error(ErrorCode::kIo, fmt::format("no folder can be made in {}", fs::temp_directory_path().string()));
  }
  ~SkeletonRoom() { remove_folder(path_); }
  SkeletonRoom(const SkeletonRoom&) = delete;
  SkeletonRoom& operator=(const SkeletonRoom&) = delete;

  std::string add(const Plan& plan, std::size_t document) {
    std::string folder = fmt::format("{}/{}", path_, document);
    fs::create_directory(folder);
    write_skeleton(plan, folder);
    return folder;
  }

 private:
  std::string path_;
};

std::string normal(const std::string& path) {
  fs::path full = fs::absolute(path).lexically_normal();
  if (!full.has_filename()) full = full.parent_path();
  return full.string();
}

class MultiRun {
 public:
  explicit MultiRun(const MultiOptions& options) : o_(options), request_(make_request(options.merge)), talk_(talk_of(options.merge)) {}

  int run() {
    read();
    choose_folders();
    check_places();
    plan_all();
    if (o_.merge.request.notices_are_errors) found_.promote_notices();
    found_.throw_if_errors();
    print_diagnostics(found_, talk_);
    if (o_.dry_run) return 0;
    check_space();
    return merge_all();
  }

 private:
  const Recipe& document(std::size_t i) const { return multi_.documents[i]; }
  bool is_result(std::size_t i) const { return multi_.result == i; }
  std::string shown(std::size_t i) const { return is_result(i) ? std::string("the result") : "`" + printable(document(i).name, 60) + "`"; }
  bool is_kept() const { return o_.keep || !o_.intermediate_dir.empty(); }
  bool is_used(std::size_t i) const {
    for (const auto& uses : multi_.uses) {
      if (std::find(uses.begin(), uses.end(), i) != uses.end()) return true;
    }
    return false;
  }

  void read() {
    const std::string& file = request_.recipe_file;
    std::string text = request_.recipe_text;
    if (text.empty()) {
      try {
        text = read_small_file(file, static_cast<std::int64_t>(YamlLimits{}.bytes));
      } catch (const Error& problem) {
        found_.error({file, 0, 0}, fmt::format("the file cannot be read: {}", problem.what()));
        found_.throw_if_errors();
      }
    }
    text_ = text;
    multi_ = parse_multi(text_, file, read_options(request_), found_);
  }

  // Outputs that nothing would be left of are not made.
  void choose_folders() {
    wanted_.assign(multi_.documents.size(), !multi_.result || is_kept());
    if (multi_.result) mark_wanted(*multi_.result);
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (wanted_[i] || !multi_.is_sound[i]) continue;
      say_notice(document(i).name_place, fmt::format("{} is used by no other document and would not be kept: it is not merged", shown(i)),
                 "--intermediate-dir DIR keeps all outputs");
    }
    scratch_ = o_.intermediate_dir;
    if (scratch_.empty() && !o_.out.empty()) {
      const fs::path out = normal(o_.out);
      scratch_ = (out.parent_path() / ("." + out.filename().string() + ".crucible-parts")).string();
    }
  }

  void mark_wanted(std::size_t i) {
    if (wanted_[i] && !is_kept()) return;
    wanted_[i] = true;
    for (const std::size_t used : multi_.uses[i]) {
      if (!wanted_[used]) mark_wanted(used);
    }
  }

  std::string folder_of(std::size_t i) const { return is_result(i) ? o_.out : (fs::path(scratch_) / document(i).name).string(); }

  void check_places() {
    if (multi_.result && o_.out.empty()) {
      say_error(document(*multi_.result).method_place, "a document without a name is the result, and there is no folder for it",
                "give --out-path DIR, or a name");
    }
    if (!multi_.result && !multi_.documents.empty()) {
      if (o_.intermediate_dir.empty()) {
        found_.error({}, "every document has a name, and there is no folder for their outputs", "give --intermediate-dir DIR");
      } else if (!o_.out.empty()) {
        found_.notice({}, fmt::format("--out-path is not used: every document has a name, and its output is in {}", o_.intermediate_dir));
      }
    }
    for (const auto& [id, folder] : request_.model_dirs) {
      for (const Recipe& d : multi_.documents) {
        if (d.name_place.line > 0 && d.name == id)
          say_error(d.name_place, fmt::format("`{}` is the name of a document, and --model says where it is", printable(id, 60)));
      }
    }
    if (multi_.result && !o_.out.empty()) {
      try {
        refuse_occupied(o_.merge, o_.out);
      } catch (const InputError& problem) {
        found_.append(problem.diagnostics());
      }
      for (std::size_t i = 0; i < multi_.documents.size(); ++i) {
        if (!is_result(i) && normal(folder_of(i)) == normal(o_.out))
          say_error(document(i).name_place, fmt::format("the output of {} and the result would be one folder, {}", shown(i), o_.out));
      }
    }
    for (const Recipe& d : multi_.documents) note_rival_folders(d);
  }

  // A name goes before a folder of the same name; who meant the folder should know.
  void note_rival_folders(const Recipe& recipe) {
    const fs::path beside = fs::path(recipe.file).parent_path();
    for (const ModelRef& ref : recipe.referenced_models()) {
      if (!document_of(multi_, ref)) continue;
      const std::string& path = ref.model.path;
      if (!is_folder(path) && !is_folder((beside / path).string())) continue;
      say_notice(ref.place, fmt::format("`{}` is the document of this name, not the folder", printable(path, 60)),
                 fmt::format("write ./{} for the folder", printable(path, 60)));
    }
  }

  // Folders of the documents that a document uses, by name, after what the user says.
  MergeRequest request_for(std::size_t i, const std::map<std::size_t, std::string>& folders) const {
    MergeRequest request = request_;
    for (const std::size_t used : multi_.uses[i]) {
      if (const auto at = folders.find(used); at != folders.end()) request.model_dirs.emplace_back(document(used).name, at->second);
    }
    return request;
  }

  // Every document against the headers of its inputs; those that are still to be merged have theirs already, from the plan.
  void plan_all() {
    SkeletonRoom room;
    std::map<std::size_t, std::string> planned;
    std::size_t number = 0;
    for (const std::size_t i : multi_.order) {
      const bool has_inputs =
          std::all_of(multi_.uses[i].begin(), multi_.uses[i].end(), [&](std::size_t used) { return planned.contains(used); });
      if (!multi_.is_sound[i] || !has_inputs) {
        check_leaves(document(i));
        continue;
      }
      Diagnostics of_plan;
      const MergeRequest request = request_for(i, planned);
      const Plan plan = plan_recipe(document(i), request, {}, of_plan);
      found_.append(of_plan);
      if (of_plan.has_errors()) continue;
      const MemoryPlan memory = plan_memory(plan, run_options(request));
      bytes_[i] = plan.data_bytes();
      if (is_used(i)) planned[i] = room.add(plan, i);
      if (wanted_[i]) check_target(i, plan);
      if (!o_.dry_run || !wanted_[i]) continue;
      shown_plans_ += fmt::format("{}--- {}: {}\n", number++ > 0 ? "\n" : "", shown(i), folder_of(i)) + render_plan(plan, memory);
    }
    if (o_.dry_run && !found_.has_errors()) std::fputs(shown_plans_.c_str(), stdout);
  }

  // Models that are no outputs of this file must be there, even where more cannot be said yet.
  void check_leaves(const Recipe& recipe) {
    if (!multi_.is_legible) return;  // a name may be missing
    LocateOptions locate;
    locate.recipe_folder = fs::path(recipe.file).parent_path().string();
    locate.model_dirs = request_.model_dirs;
    Diagnostics missing;
    for (const ModelRef& ref : recipe.referenced_models()) {
      if (!document_of(multi_, ref)) locate_model(ref.model.path, ref.model.revision, ref.place, locate, missing);
    }
    for (const Diagnostic& d : missing.items()) {
      if (d.severity == Severity::kError) say(d);
    }
  }

  void check_target(std::size_t i, const Plan& plan) {
    const std::string folder = folder_of(i);
    if (is_result(i) || folder.empty()) return;
    is_there_[i] = is_output_of(plan, folder);
    if (o_.intermediate_dir.empty() || is_there_[i] || o_.merge.overwrite || !is_occupied_folder(folder)) return;
    say_error(document(i).name_place, fmt::format("{}: holds something else than the output of {}", printable(folder, 400), shown(i)),
              "--overwrite replaces it; another --intermediate-dir leaves it alone");
  }

  // Nothing is won by finding a full disk after the first merge.
  void check_space() const {
    std::map<std::string, std::int64_t> needed;
    for (const auto& [i, bytes] : bytes_) {
      if (!wanted_[i] || (is_there_.contains(i) && is_there_.at(i))) continue;
      fs::path there = normal(folder_of(i));
      while (!there.empty() && there != there.root_path() && !fs::exists(there)) there = there.parent_path();
      needed[there.string()] += bytes;
    }
    for (const auto& [there, bytes] : needed) {
      std::error_code failed;
      const fs::space_info space = fs::space(there, failed);
      if (failed || static_cast<std::int64_t>(space.available) >= bytes) continue;
      throw Error(ErrorCode::kNoSpace, fmt::format("{}: the outputs need {}, {} are free", printable(there, 400), render_bytes(bytes),
                                                   render_bytes(static_cast<std::int64_t>(space.available))));
    }
  }

  int merge_all() {
    std::size_t parts = 0;
    for (std::size_t i = 0; i < wanted_.size(); ++i) parts += wanted_[i] && !is_result(i) ? 1u : 0u;
    std::optional<ScratchFolder> scratch;
    if (parts > 0) scratch.emplace(scratch_);
    std::map<std::size_t, std::string> folders;
    try {
      std::size_t number = 0;
      for (const std::size_t i : multi_.order) {
        if (!wanted_[i]) continue;
        merge_one(i, fmt::format("[{}/{}] {}", ++number, parts + (multi_.result ? 1u : 0u), shown(i)), folders);
        folders[i] = folder_of(i);
      }
    } catch (...) {
      if (!folders.empty())
        std::fprintf(stderr, "crucible: what is merged is kept in %s; the same command goes on from there\n",
                     printable(scratch_, 400).c_str());
      throw;
    }
    if (!scratch || is_kept()) {
      if (scratch && talk_ == Talk::kNormal) std::printf("named outputs are in %s\n", scratch_.c_str());
      return 0;
    }
    std::vector<std::string> names;
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (wanted_[i] && !is_result(i)) names.push_back(document(i).name);
    }
    if (!scratch->remove(names)) std::fprintf(stderr, "crucible: %s holds other files too and is kept\n", printable(scratch_, 400).c_str());
    return 0;
  }

  void merge_one(std::size_t i, const std::string& title, const std::map<std::size_t, std::string>& folders) {
    MergeRequest request = request_for(i, folders);
    Diagnostics of_plan;
    const Plan plan = plan_recipe(document(i), request, {}, of_plan);
    of_plan.throw_if_errors();
    const std::string folder = folder_of(i);
    std::string note;
    if (!is_result(i)) {
      request.existing = ExistingOutput::kReplace;  // what is there was looked at before anything began
      if (o_.reuse && is_occupied_folder(folder)) {
        const std::string why = why_not_done(plan, folder);
        if (why.empty()) {
          if (talk_ == Talk::kNormal) std::fprintf(stderr, "%s: is merged already, as its record says\n", title.c_str());
          return;
        }
        note = ": merged again, because " + why;
      }
    }
    if (talk_ == Talk::kNormal) std::fprintf(stderr, "%s%s\n", title.c_str(), note.c_str());
    run_and_tell(plan, request, folder, talk_);
  }

  void say(Diagnostic d) {
    const LineIndex lines(without_byte_order_mark(text_));
    if (d.source_line.empty() && d.place.line > 0) d.source_line = lines.line_shown(d.place);
    found_.add(std::move(d));
  }
  void say_error(const Place& place, std::string message, std::string hint = {}) {
    say({Severity::kError, place, std::move(message), std::move(hint), {}});
  }
  void say_notice(const Place& place, std::string message, std::string hint = {}) {
    say({Severity::kNotice, place, std::move(message), std::move(hint), {}});
  }

  const MultiOptions& o_;
  MergeRequest request_;
  Talk talk_;
  std::string text_;
  MultiRecipe multi_;
  Diagnostics found_;
  std::string scratch_;
  std::vector<bool> wanted_;
  std::map<std::size_t, std::int64_t> bytes_;  // of the outputs that were planned
  std::map<std::size_t, bool> is_there_;       // its folder holds a merge of the same plan
  std::string shown_plans_;
};

}  // namespace

int run_multi(const MultiOptions& options) { return MultiRun(options).run(); }

}  // namespace crucible
