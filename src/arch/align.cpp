#include "arch/align.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

#include "arch/align_tables.h"
#include "base/text_util.h"

namespace crucible {
namespace {

using Parts = std::vector<std::string>;

// A name with its numbers taken out: "model.layers.#.mlp.experts.#.w1.weight" and {3, 17}.
struct Pattern {
  std::string text;
  std::vector<std::int64_t> numbers;
};

bool is_number(std::string_view part) noexcept {
  return !part.empty() && part.size() <= 9 && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Parts split(std::string_view text) {
  Parts parts;
  for (std::size_t begin = 0;;) {
    const std::size_t dot = text.find('.', begin);
    parts.emplace_back(text.substr(begin, dot - begin));
    if (dot == std::string_view::npos) return parts;
    begin = dot + 1;
  }
}

std::string join(const Parts& parts, std::size_t begin, std::size_t end) {
  std::string text;
  for (std::size_t i = begin; i < end; ++i) text += (i > begin ? "." : "") + parts[i];
  return text;
}

Pattern pattern_of(std::string_view name) {
  Pattern pattern;
  pattern.text.reserve(name.size());
  for (std::size_t begin = 0;;) {
    const std::size_t dot = name.find('.', begin);
    const std::string_view part = name.substr(begin, dot - begin);
    if (is_number(part)) {
      pattern.numbers.push_back(std::stoll(std::string(part)));
      pattern.text += '#';
    } else {
      pattern.text += part;
    }
    if (dot == std::string_view::npos) return pattern;
    pattern.text += '.';
    begin = dot + 1;
  }
}

std::string fill(std::string_view pattern, const std::vector<std::int64_t>& numbers) {
  std::string name;
  std::size_t next = 0;
  for (const char c : pattern) {
    if (c == '#' && next < numbers.size()) {
      name += std::to_string(numbers[next++]);
    } else {
      name += c;
    }
  }
  return name;
}

// All tensors that differ in their numbers only.
struct Kind {
  std::string pattern;
  std::string canonical;  // aliases and wrappers resolved, in the end under the reference's prefix
  std::set<Shape> shapes;
  std::int64_t tensors = 0;
};

bool has_parts_at(const Parts& parts, std::size_t at, const Parts& wanted) {
  return at + wanted.size() <= parts.size() && std::equal(wanted.begin(), wanted.end(), parts.begin() + static_cast<std::ptrdiff_t>(at));
}

std::string canonical_of(const std::string& pattern) {
  Parts parts = split(pattern);
  if (parts.size() > 1 && parts.front() == "module") parts.erase(parts.begin());  // DistributedDataParallel
  std::erase_if(parts, [](const std::string& p) { return is_one_of(p, spelling::kWrappers); });
  for (const spelling::Alias& alias : spelling::kAliases) {
    const Parts legacy = split(alias.legacy);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!has_parts_at(parts, i, legacy)) continue;
      const auto begin = parts.begin() + static_cast<std::ptrdiff_t>(i);
      if (!alias.within.empty() && std::find(parts.begin(), begin, alias.within) == begin) continue;
      const Parts current = split(alias.current);
      parts.erase(begin, begin + static_cast<std::ptrdiff_t>(legacy.size()));
      parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(i), current.begin(), current.end());
      break;
    }
  }
  return join(parts, 0, parts.size());
}

// One of each shape in common, or matrices that differ in rows only (vocabularies).
bool shapes_fit(const Kind& a, const Kind& b) {
  for (const Shape& x : a.shapes) {
    for (const Shape& y : b.shapes) {
      if (x == y || (x.size() == 2 && y.size() == 2 && x[1] == y[1])) return true;
    }
  }
  return false;
}

// Parts before (or after) the common rest of two names, and what stands there in the other.
struct Difference {
  std::string reference;
  std::string other;
  bool is_prefix = true;
  auto operator<=>(const Difference&) const = default;
};

// Are all of the smaller among the larger? Then the difference is wrapping (`model.` against `model.language_model.`), not another part
// of the network (`encoder.` against `decoder.`).
bool is_wrapping(Parts a, Parts b) {
  if (is_one_of("#", a) || is_one_of("#", b)) return false;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return std::includes(a.begin(), a.end(), b.begin(), b.end()) || std::includes(b.begin(), b.end(), a.begin(), a.end());
}

std::optional<Difference> difference(const std::string& reference, const std::string& other, bool is_prefix) {
  const Parts r = split(reference);
  const Parts o = split(other);
  std::size_t same = 0;
  const auto at = [&](const Parts& parts, std::size_t k) -> const std::string& {
    return is_prefix ? parts[parts.size() - 1 - k] : parts[k];
  };
  while (same < r.size() && same < o.size() && at(r, same) == at(o, same)) ++same;
  if (same == 0) return std::nullopt;
  const std::size_t rn = r.size() - same, on = o.size() - same;
  // A suffix is added, never exchanged.
  if (!is_prefix && rn > 0 && on > 0) return std::nullopt;
  Difference d;
  d.is_prefix = is_prefix;
  d.reference = is_prefix ? join(r, 0, rn) : join(r, same, r.size());
  d.other = is_prefix ? join(o, 0, on) : join(o, same, o.size());
  const auto parts = [](const std::string& text) { return text.empty() ? Parts{} : split(text); };
  if (d.reference == d.other || !is_wrapping(parts(d.reference), parts(d.other))) return std::nullopt;
  return d;
}

// `name` with the other's prefix or suffix exchanged for the reference's.
std::optional<std::string> respell(const Difference& d, const std::string& name) {
  std::string rest;
  if (d.other.empty()) {
    rest = name;
  } else if (d.is_prefix) {
    if (!name.starts_with(d.other + ".")) return std::nullopt;
    rest = name.substr(d.other.size() + 1);
  } else {
    if (!name.ends_with("." + d.other)) return std::nullopt;
    rest = name.substr(0, name.size() - d.other.size() - 1);
  }
  if (d.reference.empty()) return rest;
  return d.is_prefix ? d.reference + "." + rest : rest + "." + d.reference;
}

std::string words(const Difference& d) {
  const auto quoted = [&](const std::string& text) {
    return text.empty()  ? std::string("nothing")
           : d.is_prefix ? fmt::format("`{}.`", printable(text))
                         : fmt::format("`.{}`", printable(text));
  };
  return fmt::format("{} {} instead of {}", d.is_prefix ? "names begin with" : "names end with", quoted(d.other), quoted(d.reference));
}

// A fused tensor of one side and its parts of the other.
struct Fused {
  const spelling::Fusion* fusion = nullptr;
  std::string fused;               // pattern
  std::vector<std::string> parts;  // patterns, in order
};

class Aligner {
 public:
  Aligner(const std::vector<const TensorInfo*>& reference, const std::vector<const TensorInfo*>& other, const std::string& model_type)
      : reference_(reference), other_(other), model_type_(model_type) {}

  Alignment run() {
    find_open();
    match_aliases();
    for (const bool is_prefix : {true, false}) match_differences(is_prefix);
    match_fusions();
    build();
    return std::move(out_);
  }

 private:
  static std::map<std::string, Kind> kinds_of(const std::vector<const TensorInfo*>& tensors) {
    std::unordered_map<std::string, Kind> kinds;
    for (const TensorInfo* t : tensors) {
      Kind& kind = kinds[pattern_of(t->name).text];
      ++kind.tensors;
      if (kind.shapes.size() < 8) kind.shapes.insert(t->shape);
    }
    std::map<std::string, Kind> sorted;
    for (auto& [pattern, kind] : kinds) {
      kind.pattern = pattern;
      sorted.emplace(pattern, std::move(kind));
    }
    return sorted;
  }

  void find_open() {
    open_reference_ = kinds_of(reference_);
    open_other_ = kinds_of(other_);
    std::erase_if(open_reference_, [this](const auto& r) { return open_other_.erase(r.first) > 0; });
    for (auto* side : {&open_reference_, &open_other_}) {
      for (auto& [pattern, kind] : *side) kind.canonical = canonical_of(pattern);
    }
  }

  void rename(const std::string& other, const std::string& reference) {
    renames_[other] = reference;
    open_other_.erase(other);
    open_reference_.erase(reference);
  }

  const Kind* find_reference(const std::string& canonical) const {
    for (const auto& [pattern, kind] : open_reference_) {
      if (kind.canonical == canonical) return &kind;
    }
    return nullptr;
  }

  void match_aliases() {
    std::vector<std::pair<std::string, std::string>> found;
    std::int64_t tensors = 0;
    for (const auto& [pattern, kind] : open_other_) {
      const Kind* reference = find_reference(kind.canonical);
      if (reference == nullptr || !shapes_fit(*reference, kind)) continue;
      found.emplace_back(pattern, reference->pattern);
      tensors += kind.tensors;
    }
    if (found.empty()) return;
    out_.rules.push_back(
        {fmt::format("other names for the same parts: `{}` is `{}` here", printable(found.front().first), printable(found.front().second)),
         tensors});
    for (const auto& [other, reference] : found) rename(other, reference);
  }

  // What a difference explains: (other, reference) patterns.
  std::vector<std::pair<std::string, std::string>> explained_by(const Difference& d) const {
    std::vector<std::pair<std::string, std::string>> found;
    for (const auto& [pattern, kind] : open_other_) {
      const auto name = respell(d, kind.canonical);
      const Kind* reference = name ? find_reference(*name) : nullptr;
      if (reference != nullptr && shapes_fit(*reference, kind)) found.emplace_back(pattern, reference->pattern);
    }
    return found;
  }

  // The difference that explains most, again and again. Two that explain the same names in different ways explain nothing.
  void match_differences(bool is_prefix) {
    for (;;) {
      std::set<Difference> candidates;
      for (const auto& [op, o] : open_other_) {
        for (const auto& [rp, r] : open_reference_) {
          if (const auto d = difference(r.canonical, o.canonical, is_prefix); d && shapes_fit(r, o)) candidates.insert(*d);
        }
      }
      const Difference* best = nullptr;
      std::vector<std::pair<std::string, std::string>> most;
      bool is_ambiguous = false;
      for (const Difference& d : candidates) {
        auto found = explained_by(d);
        if (found.size() < most.size() || found.empty()) continue;
        is_ambiguous = found.size() == most.size() && found.front().first == most.front().first;
        if (found.size() == most.size() && !is_ambiguous) continue;
        best = &d;
        most = std::move(found);
      }
      if (best == nullptr) return;
      if (is_ambiguous) {
        out_.problems.push_back(fmt::format("`{}` could be one of several parts of the network", printable(most.front().first)));
        return;
      }
      accept(*best, most);
    }
  }

  void accept(const Difference& d, const std::vector<std::pair<std::string, std::string>>& found) {
    std::int64_t tensors = 0;
    for (const auto& [other, reference] : found) {
      tensors += open_other_.at(other).tensors;
      rename(other, reference);
    }
    out_.rules.push_back({words(d), tensors});
    differences_.push_back(d);
  }

  // The names that a pattern of `side` may have on the reference's side: its own, and with each difference that was found. Fused tensors
  // and their parts differ in more than their prefix, so no difference explains them alone.
  std::vector<std::string> names_of(const Kind& kind, const std::map<std::string, Kind>& side) const {
    std::vector<std::string> names = {kind.canonical};
    if (&side != &open_other_) return names;
    for (const Difference& d : differences_) {
      if (auto name = respell(d, kind.canonical)) names.push_back(std::move(*name));
    }
    return names;
  }

  // The patterns of `side` whose canonical names are these; empty when one is missing.
  std::vector<std::string> all_of(const std::map<std::string, Kind>& side, const std::string& stem, const spelling::Fusion& fusion) const {
    std::vector<std::string> patterns;
    for (const std::string_view part : fusion.parts) {
      if (part.empty()) continue;
      const std::string wanted = stem + std::string(part);
      const auto it = std::find_if(side.begin(), side.end(), [&](const auto& k) {
        const auto names = names_of(k.second, side);
        return is_one_of(wanted, names);
      });
      if (it == side.end()) return {};
      patterns.push_back(it->first);
    }
    return patterns;
  }

  void match_fusions() {
    for (const spelling::Fusion& fusion : spelling::kFusions) {
      for (const bool other_is_fused : {false, true}) {
        const auto& fused_side = other_is_fused ? open_other_ : open_reference_;
        const auto& part_side = other_is_fused ? open_reference_ : open_other_;
        std::vector<Fused> found;
        for (const auto& [pattern, kind] : fused_side) {
          for (const std::string& name : names_of(kind, fused_side)) {
            if (!name.ends_with(fusion.fused)) continue;
            const std::string stem = name.substr(0, name.size() - fusion.fused.size());
            if (!stem.empty() && stem.back() != '.') continue;
            const auto parts = all_of(part_side, stem, fusion);
            if (parts.empty() || !layouts_fit(fusion, kind, part_side, parts)) continue;
            found.push_back({&fusion, pattern, parts});
            break;
          }
        }
        for (Fused& f : found) accept(std::move(f), other_is_fused);
      }
    }
  }

  // Does the fused shape say that the parts lie one after the other along the first axis (of each expert)?
  bool layouts_fit(const spelling::Fusion& fusion, const Kind& fused, const std::map<std::string, Kind>& side, const Parts& parts) {
    const Shape& whole = *fused.shapes.begin();
    std::int64_t rows = 0;
    Shape rest;
    for (const std::string& p : parts) {
      const Shape& shape = *side.at(p).shapes.begin();
      if (shape.empty()) return false;
      rows += shape.front();
      rest.assign(shape.begin() + 1, shape.end());
    }
    Shape wanted = {rows};
    wanted.insert(wanted.end(), rest.begin(), rest.end());
    if (!fusion.each) return whole == wanted;
    if (whole.size() != 3 || wanted.size() != 2) return false;
    const Shape each(whole.begin() + 1, whole.end());
    const Shape turned = {wanted[1], wanted[0]};
    const auto lists = [this](const auto& families) { return is_one_of(model_type_, families); };
    const bool is_turned = each == turned && (each != wanted || !lists(spelling::kExpertsOutIn));
    if (is_turned && (each != wanted || lists(spelling::kExpertsInOut))) {
      out_.problems.push_back(
          fmt::format("`{}` holds its experts as [experts, in, out], `{}` one by one as [out, in]: turning them is not "
                      "supported",
                      printable(fused.pattern), printable(parts.front())));
      return false;
    }
    if (is_turned) {
      out_.problems.push_back(
          fmt::format("`{}` may hold its experts as [out, in] or as [in, out]: the shapes do not tell, and model_type "
                      "`{}` is not known here",
                      printable(fused.pattern), printable(model_type_)));
      return false;
    }
    return each == wanted;
  }

  void accept(Fused fused, bool other_is_fused) {
    std::int64_t tensors = 0;
    auto& part_side = other_is_fused ? open_reference_ : open_other_;
    auto& fused_side = other_is_fused ? open_other_ : open_reference_;
    for (const std::string& p : fused.parts) {
      tensors += other_is_fused ? 0 : part_side.at(p).tensors;
      part_shapes_[p] = *part_side.at(p).shapes.begin();
      part_side.erase(p);
    }
    if (other_is_fused) tensors = fused_side.at(fused.fused).tensors;
    fused_side.erase(fused.fused);
    const std::string shown = printable(std::string(fused.fusion->fused));
    out_.rules.push_back({other_is_fused ? fmt::format("`{}` is stored as one, here in parts", shown)
                                         : fmt::format("`{}` is stored in parts, here as one", shown),
                          tensors});
    const std::size_t index = fusions_.size();
    if (other_is_fused) {
      splits_[fused.fused] = index;
    } else {
      for (std::size_t p = 0; p < fused.parts.size(); ++p) gathers_[fused.parts[p]] = {index, p};
    }
    fusions_.push_back(std::move(fused));
  }

  void build() {
    for (std::size_t i = 0; i < other_.size(); ++i) {
      const TensorInfo& t = *other_[i];
      if (renames_.empty() && fusions_.empty()) {
        out_.tensors.push_back({t, {{i, 0, elem_count(t.shape)}}, false});
        continue;
      }
      const Pattern pattern = pattern_of(t.name);
      if (const auto it = renames_.find(pattern.text); it != renames_.end()) {
        TensorInfo info = t;
        info.name = fill(it->second, pattern.numbers);
        out_.tensors.push_back({std::move(info), {{i, 0, elem_count(t.shape)}}, true});
      } else if (const auto split = splits_.find(pattern.text); split != splits_.end()) {
        add_parts(fusions_[split->second], i, pattern.numbers);
      } else if (const auto gather = gathers_.find(pattern.text); gather != gathers_.end()) {
        note_part(gather->second.first, gather->second.second, i, pattern.numbers);
      } else {
        out_.tensors.push_back({t, {{i, 0, elem_count(t.shape)}}, false});
      }
    }
    for (const auto& [name, group] : groups_) add_fused(name, group);
  }

  void add_parts(const Fused& fused, std::size_t tensor, const std::vector<std::int64_t>& numbers) {
    const TensorInfo& whole = *other_[tensor];
    const std::int64_t experts = fused.fusion->each ? whole.shape.front() : 1;
    std::int64_t at = 0;
    std::vector<AlignedTensor> parts;
    for (std::int64_t e = 0; e < experts; ++e) {
      for (const std::string& pattern : fused.parts) {
        std::vector<std::int64_t> filled = numbers;
        if (fused.fusion->each) filled.push_back(e);
        AlignedTensor part;
        part.info = {fill(pattern, filled), whole.dtype, part_shapes_.at(pattern)};
        part.is_mapped = true;
        const std::int64_t count = elem_count(part.info.shape);
        part.pieces = {{tensor, at, count}};
        at += count;
        parts.push_back(std::move(part));
      }
    }
    if (at != elem_count(whole.shape)) {
      out_.problems.push_back(
          fmt::format("`{}` has shape {}, which is not the sum of its parts", printable(whole.name), to_string(whole.shape)));
      return;
    }
    std::move(parts.begin(), parts.end(), std::back_inserter(out_.tensors));
  }

  // The parts of one fused tensor: expert (0 without experts) and part -> tensor.
  struct Group {
    std::size_t fusion = 0;
    std::map<std::pair<std::int64_t, std::size_t>, std::size_t> tensors;
  };

  void note_part(std::size_t fusion, std::size_t part, std::size_t tensor, std::vector<std::int64_t> numbers) {
    std::int64_t expert = 0;
    if (fusions_[fusion].fusion->each) {
      expert = numbers.back();
      numbers.pop_back();
    }
    Group& group = groups_[fill(fusions_[fusion].fused, numbers)];
    group.fusion = fusion;
    group.tensors[{expert, part}] = tensor;
  }

  void add_fused(const std::string& name, const Group& group) {
    const Fused& fused = fusions_[group.fusion];
    const std::size_t parts = fused.parts.size();
    const std::int64_t experts = group.tensors.rbegin()->first.first + 1;
    const TensorInfo& first = *other_[group.tensors.begin()->second];
    AlignedTensor out;
    out.is_mapped = true;
    out.info = {name, first.dtype, first.shape};
    std::int64_t rows = 0;
    for (const auto& [place, tensor] : group.tensors) {
      const TensorInfo& t = *other_[tensor];
      if (place.first == 0) rows += t.shape.front();
      out.pieces.push_back({tensor, 0, elem_count(t.shape)});
    }
    out.info.shape.front() = rows;
    if (fused.fusion->each) out.info.shape.insert(out.info.shape.begin(), experts);
    std::int64_t elems = 0;
    for (const AlignedPiece& p : out.pieces) elems += p.count;
    if (group.tensors.size() != parts * static_cast<std::size_t>(experts) || elems != elem_count(out.info.shape)) {
      out_.problems.push_back(fmt::format("the parts of `{}` are not complete, or not of one shape: {} of {}", printable(name),
                                          group.tensors.size(), parts * static_cast<std::size_t>(experts)));
      return;
    }
    out_.tensors.push_back(std::move(out));
  }

  const std::vector<const TensorInfo*>& reference_;
  const std::vector<const TensorInfo*>& other_;
  const std::string& model_type_;
  Alignment out_;
  std::map<std::string, Kind> open_reference_, open_other_;  // not explained yet, by pattern
  std::vector<Difference> differences_;                      // of prefix or suffix, found
  std::map<std::string, std::string> renames_;
  std::vector<Fused> fusions_;
  std::map<std::string, std::size_t> splits_;                           // fused pattern of the other -> fusion
  std::map<std::string, std::pair<std::size_t, std::size_t>> gathers_;  // part pattern of the other -> fusion, part
  std::map<std::string, Shape> part_shapes_;
  std::map<std::string, Group> groups_;
};

}  // namespace

Alignment align_names(const std::vector<const TensorInfo*>& reference, const std::vector<const TensorInfo*>& other,
                      const std::string& model_type) {
  return Aligner(reference, other, model_type).run();
}

bool is_spare_buffer(const TensorInfo& tensor) {
  const auto ends = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](std::string_view s) {
      return tensor.name == s || (tensor.name.ends_with(s) && tensor.name[tensor.name.size() - s.size() - 1] == '.');
    });
  };
  if (ends(spelling::kSpareBuffers)) return true;
  return ends(spelling::kMasks) && tensor.shape.size() == 4;
}

}  // namespace crucible
