#include "text/yaml_builder.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"

namespace crucible {
namespace {

constexpr int kMostErrors = 100;  // a file with more is not a recipe with mistakes but something else

// Long texts count as several nodes, so copies of them are bounded too.
std::size_t cost_of_text(std::size_t bytes) { return bytes / 64; }

// Where a node's own text starts: its anchor, its tag, blanks and comments come first.
std::size_t skip_properties(std::string_view text, std::size_t at) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto next = [&](std::size_t found) { return std::min(found, text.size()); };
  while (at < text.size() && (text[at] == '&' || text[at] == '!')) {
    at = next(text.find_first_of(kBlank, at));
    at = next(text.find_first_not_of(kBlank, at));
    while (at < text.size() && text[at] == '#') {
      at = next(text.find('\n', at));
      at = next(text.find_first_not_of(kBlank, at));
    }
  }
  return at;
}

// Does the quoted text that starts at `at` have its closing quote?
bool is_closed(std::string_view text, std::size_t at) {
  const char quote = text[at];
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      const bool doubled = quote == '\'' && i + 1 < text.size() && text[i + 1] == quote;
      if (!doubled) return true;
      ++i;
    }
  }
  return false;
}

constexpr std::string_view kYamlTag = "tag:yaml.org,2002:";

bool is_known_tag(std::string_view tag) {
  if (tag.empty() || tag == "?" || tag == "!") return true;
  if (!tag.starts_with(kYamlTag)) return false;
  tag.remove_prefix(kYamlTag.size());
  return tag == "str" || tag == "int" || tag == "float" || tag == "bool" || tag == "seq" || tag == "map";
}

}  // namespace

YamlBuilder::YamlBuilder(std::string_view text, const LineIndex& lines, const std::string& file, const YamlLimits& limits,
                         Diagnostics& diagnostics, bool& on_event)
    : text_(text), lines_(lines), file_(file), limits_(limits), diagnostics_(diagnostics), on_event_(on_event) {}

// The library counts bytes in its columns; its byte position is exact, so everything is derived from that.
Place YamlBuilder::place_of(const YAML::Mark& mark) const {
  if (mark.pos < 0) return {file_, 0, 0};
  return lines_.place_at(skip_properties(text_, static_cast<std::size_t>(mark.pos)), file_);
}

void YamlBuilder::error(const Place& place, std::string message, std::string hint) {
  if (diagnostics_.error_count() >= kMostErrors) stop(place, "too many errors; reading stops here");
  diagnostics_.error(place, std::move(message), std::move(hint));
}

void YamlBuilder::stop(const Place& place, std::string message, std::string hint) {
  diagnostics_.error(place, std::move(message), std::move(hint));
  throw StopParsing{};
}

void YamlBuilder::spend(std::size_t cost, const Place& place) {
  spent_ += std::min(cost, limits_.nodes + 1);
  if (spent_ > limits_.nodes) {
    stop(place, fmt::format("the file is too large: with its aliases expanded it has more than {} values", limits_.nodes));
  }
}

void YamlBuilder::check_tag(const std::string& tag, const Place& place) {
  if (is_known_tag(tag)) return;
  const std::string_view shown = tag.starts_with(kYamlTag) ? std::string_view(tag).substr(kYamlTag.size()) : std::string_view(tag);
  error(place, fmt::format("the tag `{}` is not allowed", printable(shown, 40)), "remove the tag; recipes hold plain values only");
}

// The library takes the end of the file for a closing quote.
void YamlBuilder::check_quotes(const YAML::Mark& mark) {
  const std::size_t at = skip_properties(text_, static_cast<std::size_t>(std::max(mark.pos, 0)));
  if (at >= text_.size() || (text_[at] != '"' && text_[at] != '\'')) return;
  if (!is_closed(text_, at)) {
    stop(lines_.place_at(at, file_), "the quote that opens here is never closed", fmt::format("add the closing {}", text_[at]));
  }
}

// At a character that starts nothing (a `,` outside of brackets) the library makes empty values for ever without moving on. Nested
// collections that end together may end in a few empty values at one place, never in more than this.
void YamlBuilder::note_event(const YAML::Mark& mark) {
  on_event_ = true;
  events_here_ = mark.pos == last_event_ ? events_here_ + 1 : 0;
  last_event_ = mark.pos;
  if (events_here_ > 4 * limits_.depth + 16) stop(place_of(mark), "a value cannot start with this character", "put the text in quotes");
}

void YamlBuilder::OnDocumentStart(const YAML::Mark& mark) {
  note_event(mark);
  anchors_.clear();
}

void YamlBuilder::OnDocumentEnd() { on_event_ = true; }

void YamlBuilder::OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) {
  note_event(mark);
  Built built;
  built.node.place = place_of(mark);
  spend(1, built.node.place);
  keep_anchor(anchor, built);
  add(std::move(built));
}

void YamlBuilder::OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) {
  note_event(mark);
  check_quotes(mark);
  Built built;
  built.node.kind = Node::Kind::kScalar;
  built.node.place = place_of(mark);
  built.node.text = value;
  built.node.quoted = tag == "!" || tag == std::string(kYamlTag) + "str";
  built.cost = 1 + cost_of_text(value.size());
  check_tag(tag, built.node.place);
  spend(built.cost, built.node.place);
  keep_anchor(anchor, built);
  add(std::move(built));
}

void YamlBuilder::OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) {
  note_event(mark);
  const Place place = place_of(mark);
  const auto found = anchors_.find(anchor);
  if (found == anchors_.end()) stop(place, "an alias inside the value that it stands for has no end");
  const Built& target = found->second;
  if (static_cast<int>(frames_.size()) + target.height > limits_.depth) {
    stop(place, fmt::format("nested too deeply: more than {} levels with this alias expanded", limits_.depth));
  }
  spend(target.cost, place);
  add(target);
}

void YamlBuilder::open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
  note_event(mark);
  const Place place = place_of(mark);
  if (static_cast<int>(frames_.size()) >= limits_.depth) stop(place, fmt::format("nested too deeply: more than {} levels", limits_.depth));
  check_tag(tag, place);
  spend(1, place);
  Frame frame;
  frame.built.node.kind = kind;
  frame.built.node.place = place;
  frame.built.height = 1;
  frame.anchor = anchor;
  frames_.push_back(std::move(frame));
}

void YamlBuilder::close() {
  on_event_ = true;
  Frame frame = std::move(frames_.back());
  frames_.pop_back();
  if (frame.built.node.is_map()) apply_merges(frame);
  keep_anchor(frame.anchor, frame.built);
  add(std::move(frame.built));
}

void YamlBuilder::OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                                  YAML::EmitterStyle::value /*style*/) {
  open(Node::Kind::kSequence, mark, tag, anchor);
}

void YamlBuilder::OnSequenceEnd() { close(); }

void YamlBuilder::OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value /*style*/) {
  open(Node::Kind::kMap, mark, tag, anchor);
}

void YamlBuilder::OnMapEnd() { close(); }

// Nested anchors keep copies of copies, so a kept copy is paid for like any other value.
void YamlBuilder::keep_anchor(YAML::anchor_t anchor, const Built& built) {
  if (anchor == YAML::NullAnchor) return;
  spend(built.cost, built.node.place);
  anchors_[anchor] = built;
}

void YamlBuilder::add(Built built) {
  if (frames_.empty()) {
    documents_.push_back(std::move(built.node));
    return;
  }
  Frame& frame = frames_.back();
  frame.built.cost += built.cost;
  frame.built.height = std::max(frame.built.height, built.height + 1);
  if (frame.built.node.is_sequence()) {
    frame.built.node.items.push_back(std::move(built.node));
  } else if (frame.has_key) {
    add_value(frame, std::move(built.node));
  } else {
    add_key(frame, std::move(built.node));
  }
}

void YamlBuilder::add_key(Frame& frame, Node node) {
  frame.has_key = true;
  frame.key_is_valid = node.is_scalar();
  frame.key_is_merge = node.is_scalar() && !node.quoted && node.text == "<<";
  frame.key_place = node.place;
  if (!node.is_scalar()) {
    const std::string what =
        node.is_null() ? "a key is missing before `:`" : fmt::format("a key must be a single text, not {}", describe(node));
    const bool braces = node.is_map();
    error(node.place, what, braces ? "a text that starts with `{` needs quotes" : "");
    return;
  }
  frame.key = std::move(node.text);
  const auto [first, is_new] = frame.seen.emplace(frame.key, frame.key_place);
  if (is_new) return;
  frame.key_is_valid = false;
  const std::string hint = frame.key_is_merge ? "give `<<` one list: <<: [*a, *b]" : "keep one of them";
  error(frame.key_place,
        fmt::format("duplicate key `{}`, first given at {}:{}", printable(frame.key, 60), first->second.line, first->second.column), hint);
}

void YamlBuilder::add_value(Frame& frame, Node node) {
  frame.has_key = false;
  if (!frame.key_is_valid) return;
  if (!frame.key_is_merge) {
    frame.built.node.entries.push_back({std::move(frame.key), frame.key_place, std::move(node)});
    return;
  }
  const bool is_list = node.is_sequence();
  std::vector<Node> sources;
  if (is_list) {
    sources = std::move(node.items);
  } else {
    sources.push_back(std::move(node));
  }
  for (Node& source : sources) {
    if (!source.is_map()) {
      error(source.place, fmt::format("`<<` takes a mapping or a list of mappings, not {}", describe(source)));
    } else {
      frame.merged.push_back(std::move(source));
    }
  }
}

// Own keys win over merged ones, and earlier merged mappings over later ones.
void YamlBuilder::apply_merges(Frame& frame) {
  frame.seen.erase("<<");
  for (Node& source : frame.merged) {
    for (Node::Entry& entry : source.entries) {
      if (frame.seen.emplace(entry.key, entry.key_place).second) frame.built.node.entries.push_back(std::move(entry));
    }
  }
}

}  // namespace crucible
