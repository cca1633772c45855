#include "recipe/multi.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "base/text_util.h"
#include "text/documents.h"
#include "text/lines.h"
#include "text/yaml.h"

namespace crucible {
namespace {

constexpr std::size_t kLongestName = 200;

// Names become folders below one folder.
std::string why_no_folder(const std::string& name) {
  if (name.empty()) return "is empty";
  if (name.size() > kLongestName) return fmt::format("has {} bytes; {} are allowed", name.size(), kLongestName);
  if (std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }))
    return "holds a control character";
  for (std::string_view rest = name;; rest.remove_prefix(rest.find('/') + 1)) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    if (part.empty() || part == "." || part == "..") return "is no plain name of a folder";
    if (part.starts_with('.')) return "starts with a dot";
    if (rest.find('/') == std::string_view::npos) return {};
  }
}

class MultiReader {
 public:
  MultiReader(std::string_view text, const std::string& file, const ReadOptions& options) : text_(text), file_(file), options_(options) {
    options_.count = RecipeCount::kSeveral;
  }

  MultiRecipe read(Diagnostics& diagnostics) {
    read_documents();
    if (out_.documents.empty() && !found_.has_errors())
      found_.error({file_, 0, 0}, "the file holds no merge", "write one document for each merge, with `---` between them");
    check_names();
    check_results();
    find_uses();
    order_documents();
    hand_over(diagnostics);
    return std::move(out_);
  }

 private:
  void read_documents() {
    const auto texts = split_documents(text_);
    if (!texts) {
      found_.error({file_, 0, 0}, "the file holds too many documents");
      return;
    }
    for (const std::string& text : *texts) {
      Diagnostics of_yaml;
      const std::vector<Node> nodes = parse_yaml(text, file_, of_yaml);
      const bool is_empty = std::all_of(nodes.begin(), nodes.end(), [](const Node& n) { return n.is_null(); });
      if (is_empty && !of_yaml.has_errors()) continue;
      Diagnostics of_recipe;
      out_.documents.push_back(parse_recipe(text, file_, options_, of_recipe));
      out_.is_sound.push_back(!of_recipe.has_errors());
      out_.is_legible = out_.is_legible && !of_yaml.has_errors();
      found_.append(of_recipe);
    }
  }

  void check_names() {
    std::map<std::string, Place> seen;
    for (const Recipe& document : out_.documents) {
      if (document.name_place.line == 0) continue;
      if (const std::string why = why_no_folder(document.name); !why.empty()) {
        found_.error(document.name_place, fmt::format("the name `{}` {}", printable(document.name, 60), why),
                     "its output is a folder of this name");
        continue;
      }
      const auto [first, is_new] = seen.emplace(document.name, document.name_place);
      if (!is_new) {
        found_.error(document.name_place, fmt::format("`{}` is the name of another document already, at line {}",
                                                      printable(document.name, 60), first->second.line));
      }
    }
    for (const auto& [name, place] : seen) {
      for (const auto& [other, other_place] : seen) {
        if (other.starts_with(name + "/"))
          found_.error(other_place,
                       fmt::format("the output `{}` would lie inside the output `{}`", printable(other, 60), printable(name, 60)));
      }
    }
  }

  void check_results() {
    for (std::size_t i = 0; i < out_.documents.size(); ++i) {
      if (out_.documents[i].name_place.line > 0) continue;
      if (!out_.result) {
        out_.result = i;
      } else if (out_.is_sound[i]) {
        found_.error(out_.documents[i].method_place,
                     fmt::format("a second document without a name; the first one has its `merge_method` at line {}",
                                 out_.documents[*out_.result].method_place.line),
                     "only the result has none: write `name: ...`");
      }
    }
  }

  void find_uses() {
    for (const Recipe& document : out_.documents) {
      std::vector<std::size_t> uses;
      for (const ModelRef& ref : document.referenced_models()) {
        const auto used = document_of(out_, ref);
        if (!used) continue;
        uses.push_back(*used);
        if (!ref.model.revision.empty()) {
          found_.notice(ref.place, fmt::format("`{}` is made by this file: its revision `{}` is not looked at",
                                               printable(ref.model.path, 60), printable(ref.model.revision, 60)));
        }
      }
      std::sort(uses.begin(), uses.end());
      uses.erase(std::unique(uses.begin(), uses.end()), uses.end());
      out_.uses.push_back(std::move(uses));
    }
  }

  // What is left when no document without open uses is left lies on a cycle, or uses one.
  void order_documents() {
    std::vector<bool> done(out_.documents.size());
    const auto is_ready = [&](std::size_t i) {
      return !done[i] && std::all_of(out_.uses[i].begin(), out_.uses[i].end(), [&](std::size_t used) { return done[used]; });
    };
    for (bool found_one = true; found_one;) {
      found_one = false;
      for (std::size_t i = 0; i < done.size() && !found_one; ++i) {
        if (!is_ready(i)) continue;
        out_.order.push_back(i);
        done[i] = found_one = true;
      }
    }
    std::vector<bool> told = done;
    for (std::size_t i = 0; i < done.size(); ++i) {
      if (!told[i]) report_cycle(i, done, told);
    }
  }

  // Every open document has an open use, so that following these comes back to one that was met before.
  void report_cycle(std::size_t start, const std::vector<bool>& done, std::vector<bool>& told) {
    std::vector<std::size_t> path;
    std::size_t at = start;
    while (std::find(path.begin(), path.end(), at) == path.end()) {
      path.push_back(at);
      at = *std::find_if(out_.uses[at].begin(), out_.uses[at].end(), [&](std::size_t used) { return !done[used]; });
    }
    path.erase(path.begin(), std::find(path.begin(), path.end(), at));
    const bool is_new = std::none_of(path.begin(), path.end(), [&](std::size_t i) { return told[i]; });
    told[start] = true;
    if (!is_new) return;
    std::vector<std::string> names;
    for (const std::size_t i : path) {
      told[i] = true;
      names.push_back(printable(out_.documents[i].name, 60));
    }
    names.push_back(names.front());
    const std::size_t next = path.size() > 1 ? path[1] : path[0];
    found_.error(place_of_use(path[0], next), fmt::format("the documents need one another: {}", fmt::join(names, " -> ")),
                 "a -> b: a uses the output of b");
  }

  Place place_of_use(std::size_t user, std::size_t used) const {
    for (const ModelRef& ref : out_.documents[user].referenced_models()) {
      if (document_of(out_, ref) == used) return ref.place;
    }
    return out_.documents[user].method_place;
  }

  // In file order, each with its line.
  void hand_over(Diagnostics& diagnostics) {
    const LineIndex lines(without_byte_order_mark(text_));
    std::vector<Diagnostic> items = found_.items();
    std::stable_sort(items.begin(), items.end(), [](const Diagnostic& a, const Diagnostic& b) {
      return std::tuple(a.place.line == 0, a.place.line, a.place.column) < std::tuple(b.place.line == 0, b.place.line, b.place.column);
    });
    for (Diagnostic& d : items) {
      if (d.source_line.empty() && d.place.line > 0) d.source_line = lines.line_shown(d.place);
      diagnostics.add(std::move(d));
    }
  }

  std::string_view text_;
  const std::string& file_;
  ReadOptions options_;
  MultiRecipe out_;
  Diagnostics found_;
};

}  // namespace

std::optional<std::size_t> document_of(const MultiRecipe& multi, const ModelRef& ref) {
  for (std::size_t i = 0; i < multi.documents.size(); ++i) {
    const Recipe& document = multi.documents[i];
    if (document.name_place.line > 0 && document.name == ref.model.path) return i;
  }
  return std::nullopt;
}

MultiRecipe parse_multi(std::string_view text, const std::string& file, const ReadOptions& options, Diagnostics& diagnostics) {
  return MultiReader(text, file, options).read(diagnostics);
}

}  // namespace crucible
